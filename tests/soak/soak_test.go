package soak

import (
	"cmp"
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/child"
	standin "github.com/company/order-catalog-service/infra/local/servicebus"
	"github.com/company/order-catalog-service/shared/events"
	"github.com/company/order-catalog-service/shared/outbox"
	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/shared/servicebus"
	"github.com/company/order-catalog-service/tests/kit"
)

const (
	writers    = 24
	aggregates = 64
	drains     = 4
)

// arrival is one message in the receiver's log. place is the topic's own number of it: a receiver that lost its
// connection gets what it had not settled later than what came after, so arrival times say nothing of the order.
type arrival struct {
	id, aggregate   string
	sequence, place int64
}

func TestP3NoEventIsLostOrOutOfOrderWhateverIsKilled(t *testing.T) {
	t.Parallel()
	duration := 8 * time.Second
	if text := os.Getenv("SOAK"); text != "" {
		var err error
		duration, err = time.ParseDuration(text)
		require.NoError(t, err, "SOAK is a duration such as 2m")
	}
	db := kit.NewDatabase(t)
	port, err := child.FreePort()
	require.NoError(t, err)
	connection := standin.ConnectionString(port)
	broker := &victim{env: []string{
		"SOAK_ROLE=broker", "SOAK_ADDR=127.0.0.1:" + strconv.Itoa(port), "SOAK_JOURNAL=" + filepath.Join(t.TempDir(), "journal"),
	}}
	victims := []*victim{broker}
	for range drains {
		victims = append(victims, &victim{env: []string{"SOAK_ROLE=drain", "SOAK_DATABASE=" + db.AppURL, "SOAK_BROKER=" + connection}})
	}
	for _, v := range victims {
		v.start(t)
		t.Cleanup(func() { v.kill(t) })
	}
	var ids []uuid.UUID
	for range aggregates {
		ids = append(ids, db.Product(t, 1))
	}

	receiving, stopReceiving := context.WithCancel(t.Context())
	var log []arrival
	received := make(chan struct{})
	var seen atomic.Int64
	go func() {
		defer close(received)
		log = receive(receiving, t, connection, &seen)
	}()
	writing, stopWriting := context.WithTimeout(t.Context(), duration)
	defer stopWriting()
	var working sync.WaitGroup
	for range writers {
		working.Go(func() { write(writing, t, db.Pools.Orders, ids) })
	}
	killAtRandom(writing, t, victims)
	working.Wait()

	written := kit.One[int64](t, db, "SELECT count(*) FROM outbox")
	assert.Eventually(t, func() bool {
		return seen.Load() >= written && kit.One[int64](t, db, "SELECT count(*) FROM feed") == written
	}, 2*time.Minute, 100*time.Millisecond, "not every event arrived")
	stopReceiving()
	<-received

	kills := 0
	for _, v := range victims[1:] {
		kills += v.kills
	}
	t.Logf("%d events written, %d messages received, broker killed %d times, drains %d times", written, len(log), broker.kills, kills)
	assert.Positive(t, written)
	check(t, db, log)
}

// write stores events until ctx ends: the next of a random aggregate, numbered under its row's lock, committed a
// little later.
func write(ctx context.Context, t *testing.T, pool *postgres.Pool, ids []uuid.UUID) {
	t.Helper()
	for ctx.Err() == nil {
		id := ids[rand.IntN(len(ids))]
		err := pool.Tx(context.WithoutCancel(ctx), func(tx pgx.Tx) error {
			e := events.Event{Type: events.ProductPriceChanged, Aggregate: events.Aggregate{Type: "product", ID: id}}
			err := tx.QueryRow(ctx, `UPDATE inventory SET sequence = sequence + 1 WHERE product_id = $1 RETURNING sequence, clock_timestamp()`, id).
				Scan(&e.Sequence, &e.Time)
			if err != nil {
				return err
			}
			e.ID = postgres.NewID(e.Time)
			if err := outbox.Insert(ctx, tx, e); err != nil {
				return err
			}
			time.Sleep(time.Duration(rand.IntN(4)) * time.Millisecond) // commits come late and in any order
			return nil
		})
		if ctx.Err() == nil {
			assert.NoError(t, err)
		}
	}
}

// receive logs what comes, through every death of the broker.
func receive(ctx context.Context, t *testing.T, connection string, seen *atomic.Int64) (log []arrival) {
	t.Helper()
	client, err := azservicebus.NewClientFromConnectionString(connection, &azservicebus.ClientOptions{
		RetryOptions: azservicebus.RetryOptions{MaxRetries: 1, RetryDelay: 50 * time.Millisecond},
	})
	assert.NoError(t, err)
	defer func() { _ = client.Close(context.Background()) }()
	known := make(map[string]bool)
	for ctx.Err() == nil {
		receiver, err := client.NewReceiverForSubscription(servicebus.TopicOrderEvents, servicebus.SubscriptionWebhooks, nil)
		assert.NoError(t, err)
		for err == nil && ctx.Err() == nil {
			var messages []*azservicebus.ReceivedMessage
			messages, err = receiver.ReceiveMessages(ctx, 200, nil)
			for _, m := range messages {
				log = append(log, arrival{m.MessageID, m.ApplicationProperties["aggregate"].(string), m.ApplicationProperties["sequence"].(int64), *m.SequenceNumber})
				if !known[m.MessageID] {
					known[m.MessageID] = true
					seen.Add(1)
				}
			}
			for _, m := range messages { // what can't be completed now comes again, which the log shows
				settling, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
				if err == nil {
					err = receiver.CompleteMessage(settling, m, nil)
				}
				cancel()
			}
		}
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		_ = receiver.Close(closing)
		cancel()
	}
	return log
}

// check compares the receiver's log with the database.
func check(t *testing.T, db *kit.Database, log []arrival) {
	t.Helper()
	pool := db.Pools.Reads
	stored := make(map[string]arrival)
	var order []arrival // by feed number
	require.NoError(t, pool.Do(t.Context(), func(conn *pgx.Conn) error {
		rows, err := conn.Query(t.Context(), `SELECT id::text, aggregate_id::text, sequence FROM outbox`)
		if err != nil {
			return err
		}
		list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (a arrival, err error) {
			return a, row.Scan(&a.id, &a.aggregate, &a.sequence)
		})
		for _, a := range list {
			stored[a.id] = a
		}
		if err != nil {
			return err
		}
		rows, err = conn.Query(t.Context(), `SELECT id::text, aggregate_id::text, (convert_from(payload, 'UTF8')::jsonb->>'sequence')::bigint FROM feed ORDER BY number`)
		if err != nil {
			return err
		}
		order, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (a arrival, err error) {
			return a, row.Scan(&a.id, &a.aggregate, &a.sequence)
		})
		return err
	}))
	slices.SortFunc(log, func(a, b arrival) int { return cmp.Compare(a.place, b.place) })
	for name, list := range map[string][]arrival{"topic": log, "feed": order} {
		first := make(map[string]bool)
		last := make(map[string]int64)
		inversions := 0
		for _, a := range list {
			a.place = 0
			if !assert.Equal(t, stored[a.id], a, "%s: a message that nobody stored", name) {
				return
			}
			if first[a.id] {
				assert.Equal(t, "topic", name, "the feed has an event twice")
				continue // a repeat, under its own id
			}
			first[a.id] = true
			if a.sequence <= last[a.aggregate] {
				inversions++
			}
			last[a.aggregate] = max(last[a.aggregate], a.sequence)
		}
		assert.Zero(t, inversions, "%s: events out of order within their aggregate", name)
		assert.Equal(t, len(stored), len(first), "%s: events lost", name) //nolint:testifylint // Len would print them all
	}
	assert.Zero(t, kit.One[int](t, db, `SELECT count(*) FROM (SELECT sequence - row_number() OVER (PARTITION BY aggregate_id ORDER BY sequence) AS gap, aggregate_id FROM outbox) g
		GROUP BY aggregate_id HAVING count(DISTINCT gap) > 1 UNION ALL SELECT 0 LIMIT 1`), "sequences have gaps: the test itself is wrong")
	assert.Zero(t, kit.One[int](t, db, `SELECT count(*) FROM outbox_parked`))
	assert.Zero(t, kit.One[int](t, db, `SELECT count(*) FROM outbox WHERE processed_at IS NULL`))
}
