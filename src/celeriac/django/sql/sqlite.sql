-- Statements for SQLite. Columns are described in common.sql.
-- A writing transaction begins IMMEDIATE: it waits for its turn at the start, where waiting works.

-- name: publish_message
-- queue, priority, state, moment
INSERT INTO celeriac_message (queue, priority, state, "order", moment) VALUES (%s, %s, %s, 0, %s)

-- name: publish_body
-- task_id, task, created, payload; follows publish_message at once
INSERT INTO celeriac_body (message_id, task_id, task, created, reason, payload)
VALUES (last_insert_rowid(), %s, %s, %s, '', %s)

-- name: publish_messages
-- id, queue, priority, state, moment
INSERT INTO celeriac_message (id, queue, priority, state, "order", moment) VALUES (%s, %s, %s, %s, 0, %s)

-- name: publish_bodies
-- id, task_id, task, created, payload
INSERT INTO celeriac_body (message_id, task_id, task, created, reason, payload) VALUES (%s, %s, %s, %s, '', %s)

-- name: claimable
-- max bytes, queue, limit
SELECT m.id, m.queue, CASE WHEN length(b.payload) <= %s THEN b.payload ELSE substr(b.payload, 1, 4096) END,
    length(b.payload)
FROM celeriac_message m JOIN celeriac_body b ON b.message_id = m.id
WHERE m.state = 0 AND m.queue = %s ORDER BY m.priority DESC, m."order", m.id LIMIT %s

-- name: claim
-- consumer, ids
UPDATE celeriac_message SET state = 2, consumer = %s WHERE id {in_ids}

-- name: last_message
-- the number of the last message, deleted ones included; nothing before the first
SELECT seq FROM sqlite_sequence WHERE name = 'celeriac_message'
