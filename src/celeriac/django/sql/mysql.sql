-- Statements for MariaDB, in place of those of common.sql that it does not understand. Columns are described there.
-- celeriac_message has a column more here, urgency, which is -priority: an index has to rise with what it sorts by.
--
-- A set is written as a list, IN (1, 2): what looks into a subquery would lock the rows that it passes by.

-- name: register
-- name, lease, queues
INSERT INTO celeriac_consumer (name, deadline, seq, queues) VALUES (%s, {now} + %s, -1, %s)
ON DUPLICATE KEY UPDATE deadline = VALUES(deadline), seq = -1, queues = VALUES(queues)

-- name: renew
-- lease, names
UPDATE celeriac_consumer SET deadline = {now} + %s WHERE name {in_names}

-- name: renewed
-- names
SELECT name FROM celeriac_consumer WHERE name {in_names}

-- name: hold_lease
-- name; whoever takes over the lease waits until this transaction is over
SELECT 1 FROM celeriac_consumer WHERE name = %s LOCK IN SHARE MODE

-- name: publish_message
-- queue, priority, due, due
INSERT INTO celeriac_message (queue, priority, state, "order", moment) VALUES (%s, %s, IF(%s > {now}, 1, 0), 0, %s)

-- name: publish_body
-- task_id, task, created, payload; follows publish_message at once
INSERT INTO celeriac_body (message_id, task_id, task, created, reason, payload)
VALUES (LAST_INSERT_ID(), %s, %s, %s, '', %s)

-- name: publish_bodies
-- id, task_id, task, created, payload
INSERT INTO celeriac_body (message_id, task_id, task, created, reason, payload) VALUES (%s, %s, %s, %s, '', %s)

-- name: due
-- limit; what another claim is about to promote is left to that
SELECT id FROM celeriac_message WHERE state = 1 AND moment <= {now} ORDER BY moment LIMIT %s FOR UPDATE SKIP LOCKED

-- name: promote
-- ids
UPDATE celeriac_message SET state = 0 WHERE id {in_ids}

-- name: purgeable
-- queues, limit; what is just being claimed is left to that
SELECT id FROM celeriac_message WHERE state IN (0, 1) AND queue {in_names} LIMIT %s FOR UPDATE SKIP LOCKED

-- name: claimable
-- max bytes, queue, limit
SELECT STRAIGHT_JOIN m.id, m.queue, IF(length(b.payload) <= %s, b.payload, substring(b.payload, 1, 4096)),
    length(b.payload), NOT EXISTS (SELECT 1 FROM celeriac_revocation)
FROM celeriac_message m FORCE INDEX (celeriac_ready) JOIN celeriac_body b ON b.message_id = m.id
WHERE m.state = 0 AND m.queue = %s ORDER BY m.urgency, m."order", m.id LIMIT %s FOR UPDATE SKIP LOCKED

-- name: claim
-- consumer, ids
UPDATE celeriac_message SET state = 2, consumer = %s WHERE id {in_ids}

-- name: revoke
-- task id, seconds
INSERT INTO celeriac_revocation (task_id, until) VALUES (%s, {now} + %s)
ON DUPLICATE KEY UPDATE until = VALUES(until)

-- name: remember_key
-- name, seconds
INSERT IGNORE INTO celeriac_office (name, holder, until) VALUES (%s, '', {now} + %s)

-- name: first_firing
-- name, slot, whether it publishes, how much
INSERT IGNORE INTO celeriac_scheduleentry (name, slot, fired_at, count)
VALUES (%s, %s, IF(%s, {now}, 0), %s)

-- name: remember_key
-- name, seconds
INSERT IGNORE INTO celeriac_office (name, holder, until) VALUES (%s, '', {now} + %s)

-- name: elect
-- office, candidate, seconds; the second assignment sees what the first one has made
INSERT INTO celeriac_office (name, holder, until) VALUES (%s, %s, {now} + %s)
ON DUPLICATE KEY UPDATE holder = IF(holder = VALUES(holder) OR until < {now}, VALUES(holder), holder),
    until = IF(holder = VALUES(holder), VALUES(until), until)

-- name: expire
-- finished before, limit
DELETE FROM celeriac_taskresult WHERE finished_at < %s ORDER BY finished_at LIMIT %s

-- name: store
-- the columns of store.COLUMNS; the state comes last, as the others ask for what it was
INSERT INTO celeriac_taskresult (task_id, state, name, queue, worker, args, kwargs, retries, losses,
    enqueued_at, started_at, finished_at, root_id, parent_id, group_id, result, traceback, children, details)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON DUPLICATE KEY UPDATE
    name = IF({kept}, name, VALUES(name)), queue = IF({kept}, queue, VALUES(queue)),
    worker = IF({kept}, worker, VALUES(worker)), args = IF({kept}, args, VALUES(args)),
    kwargs = IF({kept}, kwargs, VALUES(kwargs)), retries = IF({kept}, retries, VALUES(retries)),
    losses = IF({kept}, losses, VALUES(losses)), enqueued_at = IF({kept}, enqueued_at, VALUES(enqueued_at)),
    started_at = IF({kept}, started_at, VALUES(started_at)),
    finished_at = IF({kept}, finished_at, VALUES(finished_at)), root_id = IF({kept}, root_id, VALUES(root_id)),
    parent_id = IF({kept}, parent_id, VALUES(parent_id)), group_id = IF({kept}, group_id, VALUES(group_id)),
    result = IF({kept}, result, VALUES(result)), traceback = IF({kept}, traceback, VALUES(traceback)),
    children = IF({kept}, children, VALUES(children)), details = IF({kept}, details, VALUES(details)),
    state = IF({kept}, state, VALUES(state))

-- Below: which index is to be used. What the optimizer would choose for a table that was small a moment ago may pass by,
-- and lock, rows that are others'.

-- name: look
-- consumer, queues: the last claim's number, whether there is anything to claim or to promote
SELECT (SELECT seq FROM celeriac_consumer WHERE name = %s),
    EXISTS (SELECT 1 FROM celeriac_message FORCE INDEX (celeriac_ready) WHERE state = 0 AND queue {in_names})
    OR EXISTS (SELECT 1 FROM celeriac_message FORCE INDEX (celeriac_scheduled) WHERE state = 1 AND moment <= {now})

-- name: outlook
-- queues: whether there is anything to claim, and in how many seconds the next scheduled message is due
SELECT EXISTS (SELECT 1 FROM celeriac_message FORCE INDEX (celeriac_ready) WHERE state = 0 AND queue {in_names}),
    (SELECT min(moment) FROM celeriac_message FORCE INDEX (celeriac_scheduled) WHERE state = 1) - {now}

-- name: settleable
-- ids, consumer
SELECT id FROM celeriac_message FORCE INDEX (PRIMARY) WHERE id {in_ids} AND state = 2 AND consumer = %s {and_lock}

-- name: delete_held
-- ids, consumer
DELETE m FROM celeriac_message m FORCE INDEX (PRIMARY) WHERE m.id {in_ids} AND m.state = 2 AND m.consumer = %s

-- name: revivable
-- ids
SELECT id FROM celeriac_message FORCE INDEX (PRIMARY) WHERE id {in_ids} AND state = 3 {and_lock}
