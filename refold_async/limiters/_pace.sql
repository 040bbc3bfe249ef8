-- The rule of refold_async.policies.shared_pacing.SharedState.ask, for PostgreSQL. All times in microseconds.
-- Run in one transaction, by whoever finds that the function is not there.
SELECT pg_advisory_xact_lock(7301843155480236);

CREATE UNLOGGED TABLE IF NOT EXISTS refold_rate_limit (
    name text PRIMARY KEY,
    era bigint NOT NULL,
    epoch bigint NOT NULL,
    last bigint NOT NULL,
    slots bigint[] NOT NULL DEFAULT '{}',
    paused bigint NOT NULL DEFAULT 0,
    slowed double precision NOT NULL DEFAULT 'infinity',
    rate double precision NOT NULL DEFAULT 0,
    burst integer NOT NULL DEFAULT 0,
    members jsonb NOT NULL DEFAULT '{}',
    limits jsonb NOT NULL DEFAULT '{}'
) WITH (fillfactor = 10);
ALTER TABLE refold_rate_limit ADD COLUMN IF NOT EXISTS opens bigint NOT NULL DEFAULT 0;

CREATE OR REPLACE FUNCTION refold_rate_limit_ask_2(
    p_name text, p_member text, p_limit text, p_era bigint, p_epoch bigint, p_held bigint, p_returned bigint[],
    p_spent integer, p_wants boolean, p_longest bigint, p_pause bigint, p_announces boolean,
    p_rejoins boolean, p_now bigint,
    OUT era bigint, OUT epoch bigint, OUT go bigint, OUT slot bigint, OUT wait bigint, OUT members integer,
    OUT rate double precision, OUT burst integer, OUT opens bigint
) LANGUAGE plpgsql AS $function$
#variable_conflict use_variable
DECLARE
    late CONSTANT bigint := 20000;
    rejoin CONSTANT bigint := 750000;
    uneven CONSTANT bigint := 150000;
    quiet CONSTANT bigint := 250000;
    member_for CONSTANT bigint := 30000000;
    s refold_rate_limit%ROWTYPE;
    now_is bigint;
    back bigint;
    span bigint;
    given bigint;
    place integer;
    current_rate double precision;
    spacing double precision;
    slack double precision;
    total integer;
    most integer;
    missing boolean := false;  -- processes go their own way, or the state was lost
    look_back double precision;
    at double precision;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    SELECT * INTO s FROM refold_rate_limit AS t WHERE t.name = p_name FOR UPDATE;
    IF NOT FOUND THEN
        now_is := coalesce(p_now, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint);
        INSERT INTO refold_rate_limit AS t (name, era, epoch, last) VALUES (p_name, now_is, now_is, now_is)
        ON CONFLICT DO NOTHING;
        SELECT * INTO s FROM refold_rate_limit AS t WHERE t.name = p_name FOR UPDATE;
    END IF;
    now_is := coalesce(p_now, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint);

    back := s.last - now_is;  -- a clock that is set back lets no time pass
    IF back > 0 THEN
        s.slots := ARRAY(SELECT x - back FROM unnest(s.slots) AS x ORDER BY x);
        s.paused := s.paused - back;
        s.opens := greatest(0, s.opens - back);
        IF back > late THEN
            s.epoch := s.epoch + 1;
            s.slots := ARRAY(SELECT x FROM unnest(s.slots) AS x WHERE x <= greatest(now_is, s.opens) ORDER BY x);
        END IF;
    END IF;
    s.last := now_is;

    IF p_announces OR p_era <> s.era OR s.rate = 0 THEN
        SELECT jsonb_object_agg(key, value) INTO s.members
        FROM jsonb_each(s.members || jsonb_build_object(p_member, now_is)) WHERE abs(now_is - value::bigint) <= member_for;
        SELECT jsonb_object_agg(key, value) INTO s.limits
        FROM jsonb_each(s.limits || jsonb_build_object(p_limit, now_is)) WHERE abs(now_is - value::bigint) <= member_for;
        SELECT min(split_part(key, ' ', 1)::double precision), min(split_part(key, ' ', 2)::integer)
        INTO s.rate, s.burst FROM jsonb_object_keys(s.limits) AS key;
    END IF;

    span := ceil(ceil(s.rate) * 1000000 / s.rate)::bigint + late;
    s.slots := ARRAY(SELECT x FROM unnest(s.slots) AS x WHERE x > now_is - span ORDER BY x);
    current_rate := least(s.rate, s.slowed + 0.05::double precision * s.rate * greatest(0, now_is - s.paused) / 1000000);
    IF now_is >= s.opens THEN
        IF p_rejoins THEN
            look_back := greatest(quiet::double precision, 2000000 / s.rate);
            total := (SELECT count(*) FROM unnest(s.slots) AS x WHERE now_is - look_back < x AND x <= now_is);
            missing := 2000000::double precision * total < look_back * s.rate;
        ELSE
            missing := p_era <> 0 AND p_era <> s.era AND s.opens = 0 AND now_is - s.era <= rejoin;
        END IF;
    END IF;
    IF missing THEN
        s.epoch := s.epoch + 1;
        s.opens := now_is + rejoin;
        spacing := 1000000 / current_rate;
        s.slots := ARRAY(
            SELECT ceil(s.opens - x * spacing)::bigint FROM generate_series(ceil(s.rate)::integer - 1, 0, -1) AS x
        ) || array_fill(s.opens, ARRAY[floor(s.rate * uneven / 1000000)::integer]);
    END IF;
    IF p_era <> s.era THEN
        IF now_is >= s.opens THEN
            s.slots := ARRAY(SELECT x FROM unnest(s.slots || array_fill(now_is, ARRAY[p_spent])) AS x ORDER BY x);
        END IF;
    ELSIF p_epoch = s.epoch THEN
        FOREACH given IN ARRAY p_returned LOOP
            place := array_position(s.slots, given);
            IF place IS NOT NULL THEN
                s.slots := s.slots[:place - 1] || s.slots[place + 1:];
            END IF;
        END LOOP;
    END IF;

    IF p_pause >= 0 THEN
        IF now_is >= s.paused THEN
            s.slowed := greatest(least(1, s.rate), 0.7::double precision * current_rate);
        END IF;
        IF now_is + p_pause > s.paused THEN
            s.paused := now_is + p_pause;
            s.epoch := s.epoch + 1;
            s.slots := ARRAY(SELECT x FROM unnest(s.slots) AS x WHERE x <= greatest(now_is, s.opens) ORDER BY x);
        END IF;
        current_rate := least(
            s.rate, s.slowed + 0.05::double precision * s.rate * greatest(0, now_is - s.paused) / 1000000
        );
    END IF;

    go := -1;
    slot := 0;
    wait := 0;
    IF p_held > 0 AND p_epoch = s.epoch THEN
        IF abs(p_held - now_is) <= late THEN
            go := greatest(0, p_held - now_is);
        ELSIF p_held > now_is THEN
            slot := p_held;
            wait := p_held - now_is;
        ELSE
            place := array_position(s.slots, p_held);
            IF place IS NOT NULL THEN
                s.slots := s.slots[:place - 1] || s.slots[place + 1:];
            END IF;
        END IF;
    END IF;
    IF (p_wants OR (p_held > 0 AND go < 0)) AND slot = 0 THEN
        spacing := 1000000 / current_rate;
        slack := greatest(0::double precision, (s.burst - 1) * 1000000::double precision / s.rate - late);
        total := cardinality(s.slots);
        most := ceil(s.rate)::integer;
        IF current_rate < s.rate THEN
            most := greatest(1, floor(most * current_rate / s.rate)::integer);
        END IF;
        at := greatest(now_is, s.paused, s.opens);
        FOR place IN 1..total LOOP
            at := greatest(at, s.slots[place], s.slots[place] + (total - place + 1) * spacing - slack);
        END LOOP;
        IF total >= most THEN
            at := greatest(at, s.slots[total - most + 1] + span);
        END IF;
        wait := ceil(at)::bigint - now_is;
        IF p_longest < 0 OR wait <= p_longest THEN
            slot := ceil(at)::bigint;
            s.slots := s.slots || slot;
        END IF;
    END IF;

    UPDATE refold_rate_limit AS t
    SET era = s.era, epoch = s.epoch, last = s.last, slots = s.slots, paused = s.paused, slowed = s.slowed,
        rate = s.rate, burst = s.burst, members = s.members, limits = s.limits,
        opens = s.opens
    WHERE t.name = p_name;
    era := s.era;
    epoch := s.epoch;
    members := (SELECT count(*) FROM jsonb_object_keys(s.members));
    rate := s.rate;
    burst := s.burst;
    opens := greatest(0, s.opens - now_is);
END;
$function$;
