-- Statements for PostgreSQL. Columns are described in common.sql.
--
-- %b is a parameter sent as bytes, not as text: half the work for arrays and messages.

-- name: publish
-- queues, priorities, moments, task ids, tasks, created, payloads: arrays of equal length, in order.
-- The numbers are drawn first, so that both rows of a message have the same one. The last value wakes who waits,
-- at commit.
WITH new AS MATERIALIZED (
    SELECT nextval((SELECT pg_get_serial_sequence('celeriac_message', 'id')::regclass)) AS id, given.* FROM (
        SELECT * FROM unnest(%b::text[], %b::int[], %b::float8[], %b::text[], %b::text[], %b::float8[], %b::bytea[])
            WITH ORDINALITY AS t (queue, priority, moment, task_id, task, created, payload, place) ORDER BY place
    ) AS given
), messages AS (
    INSERT INTO celeriac_message (id, queue, priority, state, "order", moment)
    SELECT id, queue, priority, CASE WHEN moment > {now} THEN 1 ELSE 0 END, 0, moment FROM new
), bodies AS (
    INSERT INTO celeriac_body (message_id, task_id, task, created, reason, payload)
    SELECT id, task_id, task, created, '', payload FROM new
)
SELECT pg_notify('celeriac', '')

-- name: notify
SELECT pg_notify('celeriac', '')

-- name: promote
-- limit; what another claim is about to promote is left to that. Without a lock this one would wait for it, and then
-- make ready once more what the other has claimed by now.
WITH due AS MATERIALIZED (
    SELECT id FROM celeriac_message WHERE state = 1 AND moment <= {now}
    ORDER BY moment LIMIT %s FOR UPDATE SKIP LOCKED
)
UPDATE celeriac_message m SET state = 0 FROM due WHERE m.id = due.id

-- name: purgeable
-- queues, limit; what is just being claimed is left to that
SELECT id FROM celeriac_message WHERE state IN (0, 1) AND queue {in_names} LIMIT %s FOR UPDATE SKIP LOCKED

-- name: claim
-- queue, limit, consumer, max bytes
WITH chosen AS (
    SELECT id FROM celeriac_message WHERE state = 0 AND queue = %s
    ORDER BY priority DESC, "order", id LIMIT %s FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE celeriac_message m SET state = 2, consumer = %s FROM chosen WHERE m.id = chosen.id
    RETURNING m.id, m.queue, m.priority, m."order"
)
SELECT c.id, c.queue,
    CASE WHEN octet_length(b.payload) <= %s THEN b.payload ELSE substring(b.payload FROM 1 FOR 4096) END,
    octet_length(b.payload), NOT EXISTS (SELECT 1 FROM celeriac_revocation)
FROM claimed c JOIN celeriac_body b ON b.message_id = c.id ORDER BY c.priority DESC, c."order", c.id

-- name: hold_lease
-- name; whoever takes over the lease waits until this transaction is over
SELECT 1 FROM celeriac_consumer WHERE name = %s FOR SHARE

-- name: store
-- the columns of store.COLUMNS, each an array; no task id twice
INSERT INTO celeriac_taskresult (task_id, state, name, queue, worker, args, kwargs, retries, losses,
    enqueued_at, started_at, finished_at, root_id, parent_id, group_id, result, traceback, children, details)
SELECT * FROM unnest(%b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::int[],
    %b::int[], %b::float8[], %b::float8[], %b::float8[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[],
    %b::text[], %b::text[])
ON CONFLICT (task_id) DO UPDATE SET state = excluded.state, name = excluded.name, queue = excluded.queue,
    worker = excluded.worker, args = excluded.args, kwargs = excluded.kwargs, retries = excluded.retries,
    losses = excluded.losses, enqueued_at = excluded.enqueued_at, started_at = excluded.started_at,
    finished_at = excluded.finished_at, root_id = excluded.root_id, parent_id = excluded.parent_id,
    group_id = excluded.group_id, result = excluded.result, traceback = excluded.traceback,
    children = excluded.children, details = excluded.details
WHERE celeriac_taskresult.state <> 'SUCCESS' OR excluded.state = 'SUCCESS'
