"""The statements on procrastinate's tables: the only place that knows them. Pinned to procrastinate 3.8 and later 3.x.

`procrastinate_defer_jobs_v1` is what procrastinate's own `defer` calls. It is called here on the caller's connection,
because procrastinate itself takes connections of psycopg only.
"""

from __future__ import annotations

from typing import Final

from ._pg_schema import EARLIER

DEFER: Final = """SELECT procrastinate_defer_jobs_v1(ARRAY(
        SELECT ROW(
            %s::varchar, %s::varchar, 0, NULL, NULL, jsonb_build_object('key', o.key),
            CASE WHEN o.due > clock_timestamp() THEN o.due END
        )::procrastinate_job_to_defer_v1
        FROM refold_outbox AS o WHERE o.key = ANY(%s::text[]) ORDER BY o.seq
    ))"""
"""Make a job for each event; in the order queue, task, keys. Returns the ids of the jobs."""

NAME_JOBS: Final = """UPDATE refold_outbox AS o SET job = j.id FROM procrastinate_jobs AS j
    WHERE j.id = ANY(%s::bigint[]) AND o.key = j.args->>'key'"""
"""Write into each row which job is its last."""

HAS_JOBS: Final = "SELECT to_regclass('procrastinate_jobs') IS NOT NULL"

QUEUES: Final = r"""SELECT DISTINCT queue FROM (
        SELECT queue_name AS queue FROM procrastinate_jobs WHERE task_name = 'refold.' || queue_name || '.deliver'
        UNION ALL
        SELECT substring(task_name FROM '^refold\.(.+)\.reap$') FROM procrastinate_periodic_defers
    ) AS found WHERE queue IS NOT NULL"""
"""The queues whose `Outbox` ever had a job or a worker here."""

LAST_QUEUE: Final = """SELECT j.queue_name FROM refold_outbox AS o JOIN procrastinate_jobs AS j ON j.id = o.job
    WHERE o.key = %s"""
"""The queue of an event's last job."""

_IS_BEHIND: Final = f"""EXISTS (
        SELECT 1 FROM refold_outbox AS e WHERE e.ordering_key = o.ordering_key AND e.seq < o.seq AND {EARLIER}
    )"""  # noqa: S608 - our own words

FORGOTTEN: Final = f"""SELECT o.key, o.due::text, o.seq FROM refold_outbox AS o
    WHERE (o.due, o.seq) > (%s::timestamptz, %s) AND o.due <= clock_timestamp() - make_interval(secs => %s)
    AND NOT EXISTS (SELECT 1 FROM procrastinate_jobs AS j WHERE j.id = o.job AND j.status IN ('todo', 'doing'))
    AND (o.state <> 'queued' OR o.ordering_key IS NULL OR NOT {_IS_BEHIND})
    ORDER BY o.due, o.seq LIMIT %s FOR UPDATE OF o SKIP LOCKED"""  # noqa: S608 - our own words
"""Events that are due, and that no job will look at; in the order due and seq of the last one that was found, seconds
of grace, limit. So that of a million each is looked at once."""

DISAGREE: Final = """SELECT o.key FROM refold_outbox AS o JOIN procrastinate_jobs AS j ON j.id = o.job
    WHERE o.updated BETWEEN clock_timestamp() - interval '1 hour' AND clock_timestamp() - make_interval(secs => %s)
    AND j.status IN ('succeeded', 'failed', 'aborted', 'cancelled')
    AND CASE o.state
        WHEN 'accepted' THEN j.status <> 'succeeded'
        WHEN 'rejected' THEN j.status <> 'failed'
        WHEN 'ambiguous' THEN o.due IS NULL AND j.status <> 'failed'
        ELSE false
    END
    ORDER BY o.seq LIMIT %s FOR UPDATE OF o SKIP LOCKED"""
"""Events that ended or are held, of which the job says otherwise: after a worker was frozen, or its job was aborted."""

NEXT_IN_ORDER: Final = """SELECT o.key, coalesce(j.status = 'todo', false)
    FROM refold_outbox AS o LEFT JOIN procrastinate_jobs AS j ON j.id = o.job
    WHERE o.ordering_key = %s AND o.ordering_key IS NOT NULL AND o.state NOT IN ('accepted', 'rejected')
    ORDER BY o.seq LIMIT 1"""
"""The first event of an ordering key that is not settled, and whether its job is still to begin."""

HURRY: Final = """UPDATE procrastinate_jobs AS j SET scheduled_at = NULL FROM refold_outbox AS o
    WHERE j.task_name = %s AND j.status = 'todo' AND j.scheduled_at > clock_timestamp()
    AND o.job = j.id AND o.due <= clock_timestamp()
    RETURNING j.id"""
"""Have jobs run now that were put off although their events are due."""

SWEEP: Final = "DELETE FROM procrastinate_jobs WHERE task_name = %s AND status NOT IN ('todo', 'doing')"
"""Delete the reaper's own jobs, of which there would be four a minute."""
