package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	standin "github.com/company/order-catalog-service/infra/local/servicebus"
	"github.com/company/order-catalog-service/shared/signature"
	"github.com/company/order-catalog-service/tests/history"
	"github.com/company/order-catalog-service/tests/kit"
)

// clients is how many use the service at once, if nobody says otherwise.
const clients = 12

// course is how a soak goes.
type course struct {
	seed     uint64
	duration time.Duration
	clients  int
	breath   time.Duration // the longest time from one fault's end to the next one's beginning
}

// usual is the course of a soak of which nobody says otherwise.
var usual = course{duration: 20 * time.Second, clients: clients, breath: time.Second}

// asked is the usual course with what the environment says of it.
func asked(t *testing.T) course {
	t.Helper()
	c := usual
	c.seed = rand.Uint64()
	read := func(name, want string, parse func(string) error) {
		if text := os.Getenv(name); text != "" {
			require.NoError(t, parse(text), "%s is %s", name, want)
		}
	}
	read("SOAK", "a duration such as 2m", func(text string) (err error) { c.duration, err = time.ParseDuration(text); return err })
	read("CHAOS_SEED", "a number, as an earlier run told it", func(text string) (err error) { c.seed, err = strconv.ParseUint(text, 10, 64); return err })
	read("CHAOS_CLIENTS", "a number", func(text string) (err error) { c.clients, err = strconv.Atoi(text); return err })
	read("CHAOS_BREATH", "a duration of half a second or more", func(text string) (err error) {
		if c.breath, err = time.ParseDuration(text); err == nil && c.breath < 500*time.Millisecond {
			err = errors.New("too short")
		}
		return err
	})
	return c
}

// TestThePromisesHoldWhateverIsDoneToTheService is the proof of all promises at once. It fails when one is broken, and
// when nothing was done or nobody was served.
func TestThePromisesHoldWhateverIsDoneToTheService(t *testing.T) {
	c := asked(t)
	r := soak(t, options{}, c)
	undecided := 0
	for _, v := range r.broken {
		if v.Undecided() {
			undecided++
			t.Log(v)
			continue
		}
		t.Error(v)
	}
	assert.LessOrEqual(t, undecided, len(r.history.Run.Stock)/20, "too much of the stock's history was not decided: P2 is not proved")
	for _, a := range r.history.Attempts {
		require.NotEqual(t, http.StatusUnauthorized, a.Status, "a client's token is of no use: from then on nothing is proved")
	}
	assert.Positive(t, r.faults)
	assert.Greater(t, len(r.truth.Orders), int(c.duration.Seconds()), "hardly anybody was served: nothing is proved")
}

// run is what a soak came to.
type run struct {
	history history.History
	truth   history.Truth
	broken  []history.Violation
	faults  int
}

// soak runs a stack under clients and the nemesis for a while, lets it come to rest, and checks the history.
func soak(t *testing.T, o options, c course) run {
	t.Helper()
	t.Logf("CHAOS_SEED=%d", c.seed)
	s := open(t, o)
	name := filepath.Join(artifacts(t), fmt.Sprintf("%s-%d.jsonl", strings.NewReplacer("/", "-", "'", "").Replace(t.Name()), c.seed))
	file, err := os.Create(name)
	require.NoError(t, err)
	log := history.NewLog(file, history.Run{Seed: c.seed, Began: time.Now(), Clients: c.clients})
	hook := listen(t)
	p := &shop{s: s, log: log, shelf: max(shelf, shelf*c.clients/clients)}
	ctx, cancel := context.WithTimeout(context.Background(), c.duration)
	defer cancel()
	customers := make([]*client, c.clients)
	for i := range customers {
		customers[i] = newClient(t, p, i, c.seed)
	}
	hook.register(t, customers[0])

	hearing, deaf := context.WithCancel(context.Background())
	var topic []history.Event
	var heard atomic.Int64
	var listening, working sync.WaitGroup
	t.Cleanup(func() { cancel(); deaf(); working.Wait(); listening.Wait() }) // also when a store did not come back
	listening.Go(func() { topic = hear(hearing, t, s, &heard) })
	for _, one := range customers {
		working.Go(func() { one.use(ctx, t) })
	}
	r := run{faults: s.torment(ctx, log, plan(c), o.settings)}
	working.Wait()
	calm := log.Now()
	hook.calmDown()
	patience := max(3*time.Minute, c.duration/2) // clients that never pause leave hundreds of thousands of deliveries behind
	if o.overlay != "" {
		patience = 20 * time.Second // a broken service may never come to rest
	}
	rest(t, s, &heard, patience)
	t.Logf("at rest %s after the last client", (log.Now() - calm).Round(time.Millisecond))
	deaf()
	listening.Wait()
	require.NoError(t, log.Close())
	require.NoError(t, file.Close())

	db, err := s.database(context.Background())
	require.NoError(t, err)
	defer db.Close(context.Background()) //nolint:errcheck // has answered
	r.truth, err = history.ReadDatabase(context.Background(), db)
	require.NoError(t, err)
	r.truth.Topic, r.truth.Hooks = topic, hook.answered()
	file, err = os.Open(name)
	require.NoError(t, err)
	defer file.Close()
	r.history, err = history.Read(file)
	require.NoError(t, err)
	r.broken = history.Check(r.history, r.truth, history.Options{})
	page := strings.TrimSuffix(name, ".jsonl") + ".html"
	require.NoError(t, history.WriteReport(page, r.history, r.truth, r.broken))
	t.Logf("%d attempts, %d orders, %d events, %d faults; %s", len(r.history.Attempts), len(r.truth.Orders), len(r.truth.Outbox), r.faults, page)
	return r
}

// artifacts is where the history and its page stay: in CHAOS_DIR, else in the test's folder, which goes with the test.
func artifacts(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("CHAOS_DIR"); dir != "" {
		require.NoError(t, os.MkdirAll(dir, 0o755))
		return dir
	}
	return t.TempDir()
}

// rest waits until everything that was accepted has happened: events sent and numbered, deliveries at their end, and the
// test's own subscription empty, or patience is over.
func rest(t *testing.T, s *stack, heard *atomic.Int64, patience time.Duration) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for last := int64(-1); ; {
		began := time.Now()
		left, err := s.left()
		if now := heard.Load(); err == nil && left == 0 && now == last {
			return
		} else if last = now; time.Now().After(deadline) {
			t.Logf("not at rest after %s: %d things are left to do (%v)", patience, left, err)
			return
		}
		// Looking is about a tenth of the work, and a database that is slow for once does not put the next look off for long.
		time.Sleep(min(max(200*time.Millisecond, 9*time.Since(began)), 5*time.Second))
	}
}

// left counts what is still to do. What takes long to count is counted only when there is nothing else.
func (s *stack) left() (n int64, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	db, err := s.database(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close(context.WithoutCancel(ctx))) }()
	// Retries would come in minutes and hours: their time is now.
	_, err = db.Exec(ctx, `UPDATE webhook_deliveries SET next_attempt_at = now() WHERE status = 'pending' AND lease IS NULL AND next_attempt_at > now()`)
	for _, sql := range []string{
		`SELECT (SELECT count(*) FROM outbox WHERE processed_at IS NULL) + (SELECT count(*) FROM outbox_sent) + (SELECT count(*) FROM webhook_deliveries WHERE status = 'pending')`,
		`SELECT (SELECT count(*) FROM outbox) - (SELECT count(*) FROM feed) + (SELECT count(*) FROM outbox o WHERE NOT EXISTS (SELECT FROM webhook_deliveries d WHERE d.event_id = o.id))`,
	} {
		if err == nil && n == 0 {
			err = db.QueryRow(ctx, sql).Scan(&n)
		}
	}
	return n, err
}

// hear notes what comes on the topic, in the topic's own order.
func hear(ctx context.Context, t *testing.T, s *stack, heard *atomic.Int64) []history.Event {
	t.Helper()
	places := map[int64]history.Event{}
	kit.Hear(ctx, t, standin.ConnectionString(s.ports.broker), audit, func(messages []*azservicebus.ReceivedMessage) {
		for _, m := range messages {
			places[*m.SequenceNumber] = history.EventOf(m)
		}
		heard.Store(int64(len(places)))
	})
	return history.InOrder(places)
}

// hook is a webhook endpoint that refuses a tenth of what comes.
type hook struct {
	url  string
	mu   sync.Mutex
	keys []signature.Key
	good map[string]bool
	calm bool // refuses nothing any more
}

func listen(t *testing.T) *hook {
	t.Helper()
	h := &hook{good: map[string]bool{}}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	h.url = server.URL
	return h
}

// ServeHTTP answers a delivery.
func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil {
		err = signature.Verify(r.Header, body, time.Now(), h.keys...)
	}
	switch {
	case err != nil:
		w.WriteHeader(http.StatusUnauthorized)
	case !h.calm && rand.IntN(10) == 0:
		w.WriteHeader(http.StatusInternalServerError)
	default:
		h.good[r.Header.Get(signature.HeaderID)] = true
	}
}

func (h *hook) calmDown() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calm = true
}

func (h *hook) answered() map[string]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.good
}

// register makes it an endpoint of the service, for all events.
func (h *hook) register(t *testing.T, c *client) {
	t.Helper()
	register := request{
		method: http.MethodPost, path: "/api/v1/webhooks/register",
		body: map[string]any{"url": h.url, "events": []string{
			"order.created.v1", "order.confirmed.v1", "order.cancelled.v1", "product.price_changed.v1", "product.stock_depleted.v1",
		}},
	}
	var made struct{ Secret string }
	require.Eventually(t, func() bool { // as a client would, when the machine is slow
		res, body, err := c.send(t.Context(), "register", register)
		return err == nil && res.StatusCode == http.StatusCreated && json.Unmarshal(body, &made) == nil
	}, time.Minute, 100*time.Millisecond)
	key, err := signature.ParseKey(made.Secret)
	require.NoError(t, err)
	h.keys = []signature.Key{key}
}
