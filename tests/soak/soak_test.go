package soak

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
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
	"github.com/company/order-catalog-service/tests/history"
	"github.com/company/order-catalog-service/tests/kit"
)

const (
	writers    = 24
	aggregates = 64
	drains     = 4
)

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
	var log []history.Event
	messages := 0
	received := make(chan struct{})
	var seen atomic.Int64
	go func() {
		defer close(received)
		log, messages = receive(receiving, t, connection, &seen)
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
	t.Logf("%d events written, %d messages received, broker killed %d times, drains %d times", written, messages, broker.kills, kills)
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

// receive notes what comes, in the topic's own order, and how many messages that took.
func receive(ctx context.Context, t *testing.T, connection string, seen *atomic.Int64) (list []history.Event, messages int) {
	t.Helper()
	places := map[int64]history.Event{}
	known := map[string]bool{}
	kit.Hear(ctx, t, connection, servicebus.SubscriptionWebhooks, func(batch []*azservicebus.ReceivedMessage) {
		messages += len(batch)
		for _, m := range batch {
			places[*m.SequenceNumber] = history.EventOf(m)
			if !known[m.MessageID] {
				known[m.MessageID] = true
				seen.Add(1)
			}
		}
	})
	return history.InOrder(places), messages
}

// check compares what was heard with the database.
func check(t *testing.T, db *kit.Database, heard []history.Event) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), db.OwnerURL)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(context.Background())) }()
	truth, err := history.ReadDatabase(t.Context(), conn)
	require.NoError(t, err)
	truth.Topic = heard
	for _, v := range history.Check(history.History{}, truth, history.Options{}) {
		t.Error(v)
	}
	assert.Zero(t, kit.One[int](t, db, `SELECT count(*) FROM (SELECT sequence - row_number() OVER (PARTITION BY aggregate_id ORDER BY sequence) AS gap, aggregate_id FROM outbox) g
		GROUP BY aggregate_id HAVING count(DISTINCT gap) > 1 UNION ALL SELECT 0 LIMIT 1`), "sequences have gaps: the test itself is wrong")
}
