package e2e

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/host"
	"github.com/company/order-catalog-service/infra/local/issuer"
	"github.com/company/order-catalog-service/infra/local/pump"
	"github.com/company/order-catalog-service/infra/local/stage"
	"github.com/company/order-catalog-service/tests/kit"
)

// scriptRoot is the staged app that all tests run.
var scriptRoot string

func TestMain(m *testing.M) {
	if text := os.Getenv(beHost); text != "" {
		hostAlone(text)
	}
	os.Exit(run(m))
}

// run stages the handler once; it returns instead of exiting so that nothing stays behind.
func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "making a folder for the handler:", err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	repo, err := filepath.Abs("../..")
	if err == nil {
		binary := filepath.Join(dir, "handler")
		if err = stage.Build(context.Background(), repo, binary, stage.BuildOptions{Version: "e2e"}); err == nil {
			scriptRoot, err = stage.Stage(stage.Options{Repo: repo, Binary: binary, Out: filepath.Join(dir, "app")})
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "staging the handler:", err)
		return 1
	}
	return m.Run()
}

// world is what the hosts of one test share.
type world struct {
	*kit.Database
	issuer *issuer.Issuer
	broker *kit.Broker
	heard  io.Writer // hears all that hosts and handlers say, when it isn't nil
	addr   string    // where hosts listen; "" is a free port
}

func newWorld(t *testing.T) *world {
	t.Helper()
	tokens, stop, err := issuer.Serve("127.0.0.1:0", issuer.Options{})
	require.NoError(t, err)
	t.Cleanup(stop)
	return &world{Database: kit.NewDatabase(t), issuer: tokens, broker: kit.NewBroker(t)}
}

// service is one host with its handler.
type service struct {
	*host.Host
	world *world
	at    string // its address, where that isn't the host's to say
}

func (s *service) address() string {
	if s.at != "" {
		return s.at
	}
	return s.Addr()
}

// start runs one more host on the world. databaseURL is how its handler reaches the database, settings is more of its
// environment.
func (w *world) start(t *testing.T, databaseURL string, limits host.Limits, settings ...string) *service {
	t.Helper()
	return w.startAt(t, scriptRoot, databaseURL, limits, settings...)
}

// startAt is start for another staged app.
func (w *world) startAt(t *testing.T, scriptRoot, databaseURL string, limits host.Limits, settings ...string) *service {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(testLog{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if w.heard != nil {
		logger = slog.New(slog.NewTextHandler(w.heard, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	messages, err := pump.Open(w.broker.Connection, logger)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = messages.Close(ctx)
	})
	h, err := host.Load(host.Options{
		ScriptRoot: scriptRoot, Addr: cmp.Or(w.addr, "127.0.0.1:0"), StateDir: t.TempDir(), Limits: limits, Logger: logger, Pump: messages.Receive,
		Env: w.environment(t, databaseURL, settings...),
	})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	require.NoError(t, h.Start(ctx))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = h.Stop(ctx) // what was cut off is the test's own doing
	})
	return &service{Host: h, world: w}
}

// environment is what a handler is run with; settings is more of it.
func (w *world) environment(t *testing.T, databaseURL string, settings ...string) []string {
	t.Helper()
	redis := os.Getenv("TEST_REDIS_URL")
	require.NotEmpty(t, redis, "TEST_REDIS_URL is not set: run `make test`")
	return append([]string{
		"FUNCTIONS_WORKER_RUNTIME=custom", "AzureWebJobsDisableHomepage=true",
		"DATABASE_URL=" + databaseURL, "MIGRATIONS_DATABASE_URL=" + w.OwnerURL, "REDIS_URL=" + redis,
		"AUTH_ISSUER=" + w.issuer.URL(), "AUTH_AUDIENCE=" + issuer.Audience,
		"SERVICEBUS_CONNECTION=" + w.broker.Connection,
		"WEBHOOK_SECRET=a secret for the end-to-end tests only", "WEBHOOK_ALLOW_LOOPBACK=true",
		// The machine may be slow with other tests: the edge shall not take that for overload.
		"ADMISSION_TARGET=5s", "ADMISSION_WAIT=5s",
		// A test has few customers, and each does the work of many.
		"RATE_LIMIT_CHECKOUT=1000000/1m", "RATE_LIMIT_BROWSE=1000000/1m", "RATE_LIMIT_REST=1000000/1m",
		"JWT_SIGNING_KEY=a key for the end-to-end tests only",
	}, settings...)
}

// testLog puts the host's lines, and through it the handler's, into the test's output.
type testLog struct{ t *testing.T }

func (w testLog) Write(line []byte) (int, error) {
	w.t.Log(string(bytes.TrimSpace(line)))
	return len(line), nil
}

func (w *world) token(t *testing.T, customer string) string {
	t.Helper()
	token, err := w.issuer.Token(customer, kit.Everything)
	require.NoError(t, err)
	return token
}

// call is one request; empty fields are not sent.
type call struct {
	method, path, token, key string
	prefer, ifMatch          string
	correlation              string
	body                     any
}

type reply struct {
	status int
	header http.Header
	body   []byte
}

// request makes the HTTP request of a call.
func (s *service) request(ctx context.Context, c call) (*http.Request, error) {
	var body io.Reader
	if c.body != nil {
		raw, err := json.Marshal(c.body)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, c.method, "http://"+s.address()+c.path, body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if c.key != "" {
		req.Header.Set("Idempotency-Key", c.key)
	}
	if c.prefer != "" {
		req.Header.Set("Prefer", c.prefer)
	}
	if c.ifMatch != "" {
		req.Header.Set("If-Match", c.ifMatch)
	}
	if c.correlation != "" {
		req.Header.Set("X-Correlation-ID", c.correlation)
	}
	return req, nil
}

// send is one attempt. It fails the test nowhere, so clients may call it in goroutines.
func (s *service) send(ctx context.Context, c call) (reply, error) {
	req, err := s.request(ctx, c)
	if err != nil {
		return reply{}, err
	}
	return answer(req)
}

func answer(req *http.Request) (reply, error) {
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	return reply{res.StatusCode, res.Header, body}, err
}

// draft is the body of an order.
func draft(customer string, quantities map[string]int) map[string]any {
	var lines []map[string]any
	for id, quantity := range quantities {
		lines = append(lines, map[string]any{"productId": id, "quantity": quantity})
	}
	return map[string]any{
		"customerId": customer, "lines": lines,
		"shippingAddress": map[string]any{
			"name": "Ada Lovelace", "line1": "1 Main Street", "city": "Austin", "postalCode": "73301", "country": "US",
		},
	}
}
