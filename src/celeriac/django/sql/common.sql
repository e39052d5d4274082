-- Statements that both databases understand.
--
-- celeriac_message: id (the tag; grows, never used twice), queue, priority (9 first), state (0 ready, 1 scheduled,
--   2 in flight, 3 dead letter), "order" (0, or -1 for what was given back), moment (unix time: when it is due, or
--   when it died), consumer (who holds it, in state 2 only).
-- celeriac_body: message_id (the same number), task_id, task, created, reason (of a dead letter), payload.
-- celeriac_consumer: name, deadline (unix time by the database's clock), seq (number of the last claim), queues (JSON; '' for who
--   reads none).
-- celeriac_revocation: task_id, until (unix time): not to be started until then.
-- celeriac_command: id, until, payload: what workers are told.
-- celeriac_scheduleentry: name, slot (unix time: up to where it has fired), count, fired_at (0: never).
-- celeriac_outboxmessage: id, message_key, task_id, task, queue, priority, due, created, payload: what a broker elsewhere is to get.
-- celeriac_office: name, holder, until (unix time); also under which keys something was published once, held by nobody.
-- celeriac_taskresult: see models.TaskResult; the order of its columns here is that of store.COLUMNS.
--
-- {now} is the database's clock; {in_ids} and {in_names} compare with a set given as one parameter;
-- {and_lock} keeps rows for this transaction, where a transaction does not keep the whole database. States stand here
-- as literals, because only then can a partial index be chosen.

-- name: register
-- name, lease, queues
INSERT INTO celeriac_consumer (name, deadline, seq, queues) VALUES (%s, {now} + %s, -1, %s)
ON CONFLICT (name) DO UPDATE SET deadline = excluded.deadline, seq = -1, queues = excluded.queues

-- name: unregister
-- name
DELETE FROM celeriac_consumer WHERE name = %s

-- name: give_back_all
-- consumer
UPDATE celeriac_message SET state = 0, consumer = NULL, "order" = -1 WHERE state = 2 AND consumer = %s

-- name: next_seq
-- seq, name, seq
UPDATE celeriac_consumer SET seq = %s WHERE name = %s AND seq < %s

-- name: has_lease
-- name
SELECT seq FROM celeriac_consumer WHERE name = %s

-- name: expired
SELECT name FROM celeriac_consumer WHERE deadline < {now} ORDER BY deadline

-- name: readers
SELECT name, queues FROM celeriac_consumer WHERE deadline >= {now} AND queues <> '' ORDER BY name

-- name: renew
-- lease, names
UPDATE celeriac_consumer SET deadline = {now} + %s WHERE name {in_names} RETURNING name

-- name: take_over_lease
-- name
DELETE FROM celeriac_consumer WHERE name = %s AND deadline < {now}

-- name: move_held
-- by, dead
UPDATE celeriac_message SET consumer = %s WHERE state = 2 AND consumer = %s

-- name: held
-- max bytes, consumer
SELECT m.id, m.queue, CASE WHEN {length}(b.payload) <= %s THEN b.payload ELSE {begin_of}(b.payload, 1, 4096) END,
    {length}(b.payload), NOT EXISTS (SELECT 1 FROM celeriac_revocation)
FROM celeriac_message m JOIN celeriac_body b ON b.message_id = m.id
WHERE m.state = 2 AND m.consumer = %s ORDER BY m.id

-- name: look
-- consumer, queues: the last claim's number, whether there is anything to claim or to promote
SELECT (SELECT seq FROM celeriac_consumer WHERE name = %s),
    EXISTS (SELECT 1 FROM celeriac_message WHERE state = 0 AND queue {in_names})
    OR EXISTS (SELECT 1 FROM celeriac_message WHERE state = 1 AND moment <= {now})

-- name: outlook
-- queues: whether there is anything to claim, and in how many seconds the next scheduled message is due
SELECT EXISTS (SELECT 1 FROM celeriac_message WHERE state = 0 AND queue {in_names}),
    (SELECT min(moment) FROM celeriac_message WHERE state = 1) - {now}

-- name: settleable
-- ids, consumer; who settles one of them in the same name at the same time waits, and finds it gone
SELECT id FROM celeriac_message WHERE id {in_ids} AND state = 2 AND consumer = %s {and_lock}

-- name: delete_held
-- ids, consumer
DELETE FROM celeriac_message WHERE id {in_ids} AND state = 2 AND consumer = %s

-- name: bodies_alone
-- ids: those whose message has just been deleted
SELECT message_id FROM celeriac_body b WHERE message_id {in_ids}
    AND NOT EXISTS (SELECT 1 FROM celeriac_message m WHERE m.id = b.message_id)

-- name: put_back
-- id
UPDATE celeriac_message SET state = 0, consumer = NULL, "order" = -1 WHERE id = %s

-- name: schedule
-- due, id
UPDATE celeriac_message SET state = 1, consumer = NULL, "order" = 0, moment = %s WHERE id = %s

-- name: set_aside
-- id
UPDATE celeriac_message SET state = 3, consumer = NULL, moment = {now} WHERE id = %s

-- name: set_reason
-- reason, id
UPDATE celeriac_body SET reason = %s WHERE message_id = %s

-- name: set_payload
-- payload, id
UPDATE celeriac_body SET payload = %s WHERE message_id = %s

-- name: delete_messages
-- ids
DELETE FROM celeriac_message WHERE id {in_ids}

-- name: delete_bodies
-- ids
DELETE FROM celeriac_body WHERE message_id {in_ids}

-- name: revoke
-- seconds, task ids
INSERT INTO celeriac_revocation (task_id, until) SELECT value, {now} + %s FROM {names} WHERE true
ON CONFLICT (task_id) DO UPDATE SET until = excluded.until

-- name: revoked
-- task ids
SELECT task_id FROM celeriac_revocation WHERE task_id {in_names} AND until > {now}

-- name: command
-- seconds, payload
INSERT INTO celeriac_command (until, payload) VALUES ({now} + %s, %s)

-- name: commands
SELECT id, payload FROM celeriac_command WHERE until > {now} ORDER BY id

-- name: is_outdated
SELECT EXISTS (SELECT 1 FROM celeriac_revocation WHERE until <= {now})
    OR EXISTS (SELECT 1 FROM celeriac_command WHERE until <= {now})
    OR EXISTS (SELECT 1 FROM celeriac_office WHERE until <= {now})

-- name: delete_revocations
DELETE FROM celeriac_revocation WHERE until <= {now}

-- name: delete_commands
DELETE FROM celeriac_command WHERE until <= {now}

-- name: delete_offices
DELETE FROM celeriac_office WHERE until <= {now}

-- name: remember_key
-- name, seconds
INSERT INTO celeriac_office (name, holder, until) VALUES (%s, '', {now} + %s) ON CONFLICT (name) DO NOTHING

-- name: forget_keys
-- names
DELETE FROM celeriac_office WHERE name {in_names}

-- name: now
SELECT {now}

-- name: first_firing
-- name, slot, whether it publishes, how much
INSERT INTO celeriac_scheduleentry (name, slot, fired_at, count)
VALUES (%s, %s, CASE WHEN %s THEN {now} ELSE 0 END, %s) ON CONFLICT (name) DO NOTHING

-- name: firing
-- slot, whether it publishes, how much, name, expected slot
UPDATE celeriac_scheduleentry
SET slot = %s, fired_at = CASE WHEN %s THEN {now} ELSE fired_at END, count = count + %s
WHERE name = %s AND slot = %s

-- name: fired
-- names
SELECT name, slot, count, fired_at FROM celeriac_scheduleentry WHERE name {in_names}

-- name: unschedule
-- names
DELETE FROM celeriac_scheduleentry WHERE name {in_names}

-- name: outbox_add
-- key, task id, task, queue, priority, due, created, payload
INSERT INTO celeriac_outboxmessage (message_key, task_id, task, queue, priority, due, created, payload)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)

-- name: outbox_last
SELECT max(id) FROM celeriac_outboxmessage

-- name: outbox_read
-- last id, how many
SELECT message_key, task_id, task, queue, priority, due, payload FROM celeriac_outboxmessage WHERE id <= %s ORDER BY id LIMIT %s

-- name: outbox_there
-- keys
SELECT message_key FROM celeriac_outboxmessage WHERE message_key {in_names}

-- name: outbox_done
-- keys
DELETE FROM celeriac_outboxmessage WHERE message_key {in_names}

-- name: outbox_count
SELECT count(*) FROM celeriac_outboxmessage

-- name: elect
-- office, candidate, seconds
INSERT INTO celeriac_office (name, holder, until) VALUES (%s, %s, {now} + %s)
ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
WHERE celeriac_office.holder = excluded.holder OR celeriac_office.until < {now}

-- name: holder
-- office
SELECT holder FROM celeriac_office WHERE name = %s

-- name: resign
-- office, holder
DELETE FROM celeriac_office WHERE name = %s AND holder = %s

-- name: depths
SELECT queue, 0, count(*) FROM celeriac_message WHERE state = 0 GROUP BY queue
UNION ALL SELECT queue, 1, count(*) FROM celeriac_message WHERE state = 1 GROUP BY queue
UNION ALL SELECT queue, 2, count(*) FROM celeriac_message WHERE state = 2 GROUP BY queue

-- name: heads
SELECT h.queue, h.priority, b.payload
FROM (
    SELECT queue, priority, "order", min(id) AS id FROM celeriac_message WHERE state = 0
    GROUP BY queue, priority, "order"
) h JOIN celeriac_body b ON b.message_id = h.id ORDER BY h."order" DESC

-- name: dead_letters
-- limit, offset
SELECT m.id, m.queue, b.reason, m.moment, b.payload
FROM celeriac_message m JOIN celeriac_body b ON b.message_id = m.id
WHERE m.state = 3 ORDER BY m.moment DESC, m.id DESC LIMIT %s OFFSET %s

-- name: count_dead_letters
SELECT count(*) FROM celeriac_message WHERE state = 3

-- name: revivable
-- ids
SELECT id FROM celeriac_message WHERE id {in_ids} AND state = 3 {and_lock}

-- name: fetch
-- ids
SELECT task_id, state, name, queue, worker, args, kwargs, retries, losses,
    enqueued_at, started_at, finished_at, root_id, parent_id, group_id, result, traceback, children, details
FROM celeriac_taskresult WHERE task_id {in_names}

-- name: state_of
-- id
SELECT state FROM celeriac_taskresult WHERE task_id = %s

-- name: forget
-- ids
DELETE FROM celeriac_taskresult WHERE task_id {in_names}

-- name: expire
-- finished before, limit
DELETE FROM celeriac_taskresult WHERE id IN
    (SELECT id FROM celeriac_taskresult WHERE finished_at < %s ORDER BY finished_at LIMIT %s)

-- name: count_some_results
-- limit
SELECT count(*) FROM (SELECT 1 FROM celeriac_taskresult LIMIT %s) some_results

-- name: count_results
-- about, as the database knows it without looking at them
SELECT {about_results}
