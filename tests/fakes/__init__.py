"""Stand-ins for the three things that tests do not leave to chance: a server, a transport and a clock.

* `server.serving`: a real server on loopback that a script drives byte by byte. For what is about bytes and sockets.
  (`refold_async.testing.MockRefold` is the product: it behaves as Refold does, with faults and a ledger.)
* `transport.FakeTransport`: an httpx transport without sockets, for what is about attempts, batches and time.
* `clock.run` and `clock.JumpingLoop`: an event loop whose time jumps to the next timer, on asyncio and trio;
  `clock.VirtualTime` is a clock to inject where no loop's time is looked at.
"""
