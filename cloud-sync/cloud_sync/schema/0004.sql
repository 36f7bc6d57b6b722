-- What was kept before 0003 gets its hall, and is told apart like what came later.
UPDATE dead_letters SET hall = substr(topic, 7, instr(substr(topic, 7), '/') - 1)
WHERE hall = '' AND topic GLOB 'halls/?*/v1/*';
UPDATE dead_letters SET conflict = 1
WHERE conflict = 0 AND reason GLOB 'another event is kept as ??????????????????????????.[0-9]*';

-- A conflict is kept once, however often it is sent: it must not push out others.
DELETE FROM dead_letters WHERE conflict = 1 AND id NOT IN
  (SELECT min(id) FROM dead_letters WHERE conflict = 1 GROUP BY hall, reason, payload);
CREATE UNIQUE INDEX conflicts_once ON dead_letters (hall, reason, payload) WHERE conflict = 1;
