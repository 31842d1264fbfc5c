package outbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/shared/servicebus"
)

const (
	// sendTime bounds the sends of one pass: well below idle_in_transaction_session_timeout, whose end would give
	// the shards' locks away under a send that may still succeed.
	sendTime = 5 * time.Second
)

// The statements of a pass. A shard's lock is the advisory lock (7072, shard). The locks come in a statement of their own: read together with the rows, the rows
// would be those from before the wait, and published ones would be sent again.
const (
	lockSQL = `/* Outbox.Lock */ SELECT s FROM unnest($1::int[]) s WHERE pg_try_advisory_xact_lock(7072, s)`

	releasedSQL = `/* Outbox.Released */
SELECT id, shard, aggregate_id, sequence, type, payload, traceparent FROM outbox_parked
WHERE sent_at IS NULL AND released_at IS NOT NULL AND shard = ANY ($1::smallint[])
ORDER BY aggregate_id, sequence LIMIT 100`

	waitingSQL = `/* Outbox.Waiting */
SELECT aggregate_id, count(*) FROM outbox_parked WHERE sent_at IS NULL AND shard = ANY ($1::smallint[]) GROUP BY aggregate_id`

	pendingSQL = `/* Outbox.Pending */
SELECT o.id, o.shard, o.aggregate_id, o.sequence, o.type, o.payload, o.traceparent
FROM unnest($1::smallint[]) s CROSS JOIN LATERAL (
    SELECT * FROM outbox WHERE shard = s AND processed_at IS NULL ORDER BY aggregate_id, sequence LIMIT 100
) o ORDER BY o.shard, o.aggregate_id, o.sequence`

	// COALESCE keeps the index of unsent events out of it: read by that, a backlog would be gone through in every pass. The
	// least and the greatest id spare it the other days, in each of which every id would be looked for.
	markSQL = `/* Outbox.Mark */
WITH sent AS (
    UPDATE outbox SET processed_at = clock_timestamp()
    WHERE id = ANY ($1) AND id BETWEEN $2 AND $3 AND COALESCE(processed_at, 'infinity') = 'infinity'
    RETURNING aggregate_id, sequence, id, occurred_at
), unnumbered AS (
    INSERT INTO outbox_sent (aggregate_id, sequence, id) SELECT aggregate_id, sequence, id FROM sent
)
SELECT COALESCE(array_agg(extract(epoch FROM clock_timestamp() - occurred_at)::float8), '{}') FROM sent`
)

// row is one stored event.
type row struct {
	id        uuid.UUID
	shard     int16
	aggregate uuid.UUID
	sequence  int64
	kind      string
	payload   []byte
	trace     *string
	parked    bool // it comes from outbox_parked
}

func (r row) message() servicebus.Message {
	// Structured mode (CloudEvents' AMQP binding): the body is the event as it was stored, byte for byte. The
	// properties let a subscription filter without reading it.
	properties := map[string]any{"aggregate": r.aggregate.String(), "sequence": r.sequence}
	trace := ""
	if r.trace != nil {
		trace = *r.trace
	}
	return servicebus.Message{
		ID: r.id.String(), Subject: r.kind, ContentType: "application/cloudevents+json; charset=utf-8",
		PartitionKey: r.aggregate.String(), Body: r.payload, Properties: properties, Trace: trace,
	}
}

// result is what a pass found.
type result struct {
	again uint32 // shards in which there was something, so that there may be more
	held  uint32 // shards that another drain is at
	sent  int
}

// verdict is what a pass decided about its rows.
type verdict struct {
	sent    []row
	parked  []row // to be parked, in order
	reasons []string
	free    []bool      // parked[i] is parked behind released rows, and released like them
	repark  []uuid.UUID // aggregates whose released rows were refused again
	why     []string
}

// pass looks at shards (a bit each) once: it sends what is pending in those it can lock and marks it in the same
// transaction. Killed between the two, the events are sent again with the same ids.
func (d *Drain) pass(ctx context.Context, shards uint32) (res result, err error) {
	var (
		latencies []float64
		sendErr   error // told apart from the database's, which may pass by itself
	)
	err = d.pool.Do(ctx, func(conn *pgx.Conn) error {
		locked, err := lock(ctx, conn, shards)
		if err != nil {
			return errors.Join(err, rollback(conn))
		}
		res.held = shards &^ mask(locked)
		released, waiting, pending, err := read(ctx, conn, locked)
		if err != nil || len(released)+len(pending) == 0 {
			return errors.Join(err, rollback(conn))
		}
		send, behind, free := arrange(released, waiting, pending)
		for _, r := range append(append(send, behind...), pending...) {
			res.again |= 1 << r.shard
		}
		var v verdict
		v, sendErr = d.send(ctx, send)
		for i, r := range behind {
			v.parked, v.reasons, v.free = append(v.parked, r), append(v.reasons, "an earlier event of it is parked"), append(v.free, free[i])
		}
		latencies, err = settle(ctx, conn, v)
		if err != nil {
			return errors.Join(err, rollback(conn))
		}
		res.sent = len(v.sent)
		d.warn(ctx, v)
		return nil
	})
	for _, seconds := range latencies {
		d.latency.Record(ctx, seconds)
	}
	if err = errors.Join(err, sendErr); err != nil {
		return res, fmt.Errorf("draining the outbox: %w", err)
	}
	return res, nil
}

// lock opens the transaction and takes what locks it can.
func lock(ctx context.Context, conn *pgx.Conn, shards uint32) (locked []int16, err error) {
	var wanted []int32
	for s := range int32(Shards) {
		if shards&(1<<s) != 0 {
			wanted = append(wanted, s)
		}
	}
	batch := &pgx.Batch{}
	batch.Queue("BEGIN")
	batch.Queue(postgres.PlanOnceSQL)
	batch.Queue(lockSQL, wanted)
	results := conn.SendBatch(ctx, batch)
	defer func() { err = errors.Join(err, results.Close()) }()
	for range 2 {
		if _, err = results.Exec(); err != nil {
			return nil, err
		}
	}
	rows, err := results.Query()
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int16])
}

// read reads what there is to send in the locked shards.
func read(ctx context.Context, conn *pgx.Conn, locked []int16) (released []row, waiting map[uuid.UUID]int, pending []row, err error) {
	if len(locked) == 0 {
		return nil, nil, nil, nil
	}
	batch := &pgx.Batch{}
	batch.Queue(releasedSQL, locked)
	batch.Queue(waitingSQL, locked)
	batch.Queue(pendingSQL, locked)
	results := conn.SendBatch(ctx, batch)
	defer func() { err = errors.Join(err, results.Close()) }()
	if released, err = scan(results, true); err != nil {
		return nil, nil, nil, err
	}
	rows, err := results.Query()
	if err != nil {
		return nil, nil, nil, err
	}
	waiting = make(map[uuid.UUID]int)
	var (
		aggregate uuid.UUID
		n         int
	)
	if _, err = pgx.ForEachRow(rows, []any{&aggregate, &n}, func() error { waiting[aggregate] = n; return nil }); err != nil {
		return nil, nil, nil, err
	}
	pending, err = scan(results, false)
	return released, waiting, pending, err
}

func scan(results pgx.BatchResults, parked bool) (list []row, err error) {
	rows, err := results.Query()
	if err != nil {
		return nil, err
	}
	var r row
	_, err = pgx.ForEachRow(rows, []any{&r.id, &r.shard, &r.aggregate, &r.sequence, &r.kind, &r.payload, &r.trace}, func() error {
		list = append(list, row{r.id, r.shard, r.aggregate, r.sequence, r.kind, r.payload, r.trace, parked})
		return nil
	})
	return list, err
}

// arrange puts released rows first and says which pending rows must wait behind parked ones of their aggregate.
// free says of each whether what it waits behind is released, so that it is too.
func arrange(released []row, waiting map[uuid.UUID]int, pending []row) (send, behind []row, free []bool) {
	left := make(map[uuid.UUID]int, len(waiting)) // parked rows that this pass does not send
	going := make(map[uuid.UUID]bool)
	for aggregate, n := range waiting {
		left[aggregate] = n
	}
	for _, r := range released {
		left[r.aggregate]--
		going[r.aggregate] = true
		send = append(send, r)
	}
	for _, r := range pending {
		if left[r.aggregate] > 0 {
			behind, free = append(behind, r), append(free, going[r.aggregate])
			continue
		}
		send = append(send, r)
	}
	return send, behind, free
}

// send sends rows in order. A refused one takes the later ones of its aggregate out of the line; any other
// failure ends the pass, with what was sent before it.
func (d *Drain) send(ctx context.Context, rows []row) (v verdict, err error) {
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	for len(rows) > 0 {
		messages := make([]servicebus.Message, len(rows))
		for i, r := range rows {
			messages[i] = r.message()
		}
		n, err := d.sender.Send(ctx, messages)
		v.sent = append(v.sent, rows[:n]...)
		rows = rows[n:]
		if err == nil {
			return v, nil
		}
		if !errors.Is(err, servicebus.ErrRefused) {
			return v, err
		}
		rows = v.refuse(rows, err)
	}
	return v, nil
}

// refuse parks the first of rows and what belongs behind it, and returns the others.
func (v *verdict) refuse(rows []row, cause error) (others []row) {
	bad := rows[0]
	if bad.parked {
		v.repark, v.why = append(v.repark, bad.aggregate), append(v.why, cause.Error())
	}
	for i, r := range rows {
		switch {
		case r.aggregate != bad.aggregate:
			others = append(others, r)
		case r.parked: // it is where it belongs
		default:
			reason := "an earlier event of it is parked"
			if i == 0 {
				reason = cause.Error()
			}
			v.parked, v.reasons, v.free = append(v.parked, r), append(v.reasons, reason), append(v.free, false)
		}
	}
	return others
}

// settle writes what happened to the rows and commits. It returns how long sent ones took from their occurrence.
func settle(ctx context.Context, conn *pgx.Conn, v verdict) (latencies []float64, err error) {
	var fresh, released []uuid.UUID
	for _, r := range v.sent {
		if r.parked {
			released = append(released, r.id)
		} else {
			fresh = append(fresh, r.id)
		}
	}
	batch := &pgx.Batch{}
	least, greatest := bounds(fresh)
	batch.Queue(markSQL, fresh, least, greatest).QueryRow(func(r pgx.Row) error { return r.Scan(&latencies) })
	if len(released) > 0 {
		batch.Queue(releasedSentSQL, released)
	}
	if len(v.parked) > 0 {
		ids := make([]uuid.UUID, len(v.parked))
		for i, r := range v.parked {
			ids[i] = r.id
		}
		batch.Queue(parkSQL, ids, v.reasons, v.free)
	}
	if len(v.repark) > 0 {
		batch.Queue(reparkSQL, v.repark, v.why)
	}
	batch.Queue("COMMIT")
	// Not with the caller's context: what was sent shall be marked although the caller is leaving.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendTime)
	defer cancel()
	if err := conn.SendBatch(ctx, batch).Close(); err != nil {
		return nil, err
	}
	return latencies, nil
}

// bounds are the least and the greatest of ids, nil of none.
func bounds(ids []uuid.UUID) (least, greatest *uuid.UUID) {
	for i := range ids {
		if least == nil || bytes.Compare(ids[i][:], least[:]) < 0 {
			least = &ids[i]
		}
		if greatest == nil || bytes.Compare(ids[i][:], greatest[:]) > 0 {
			greatest = &ids[i]
		}
	}
	return least, greatest
}

// rollback ends a transaction that shall have no effect. A connection that can't do that is closed by its pool.
func rollback(conn *pgx.Conn) error {
	if conn.IsClosed() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if _, err := conn.Exec(ctx, "ROLLBACK"); err != nil {
		return fmt.Errorf("rolling back: %w", err)
	}
	return nil
}

func mask(shards []int16) (set uint32) {
	for _, s := range shards {
		set |= 1 << s
	}
	return set
}
