package lambda

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/child"
	"github.com/company/order-catalog-service/infra/local/issuer"
	"github.com/company/order-catalog-service/infra/local/stage"
	"github.com/company/order-catalog-service/tests/kit"
)

// runtime is Lambda's side: the process asks it for the next event, and tells it the answer.
type runtime struct {
	*httptest.Server
	next    chan event
	answers chan answer
	count   atomic.Int64
}

type event struct {
	id      string
	payload []byte
}

type answer struct {
	id   string
	body []byte
	fail bool
}

func newRuntime(t *testing.T) *runtime {
	t.Helper()
	r := &runtime{next: make(chan event), answers: make(chan answer, 1)}
	mux := http.NewServeMux()
	const base = "/2018-06-01/runtime/invocation/"
	mux.HandleFunc("GET "+base+"next", func(w http.ResponseWriter, req *http.Request) {
		select {
		case e := <-r.next:
			w.Header().Set("Lambda-Runtime-Aws-Request-Id", e.id)
			w.Header().Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(time.Now().Add(30*time.Second).UnixMilli(), 10))
			w.Header().Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:123456789012:function:shop")
			_, _ = w.Write(e.payload) // a process that died shows in the answer that never comes
		case <-req.Context().Done():
		}
	})
	said := func(fail bool) http.HandlerFunc {
		return func(w http.ResponseWriter, req *http.Request) {
			body, err := io.ReadAll(req.Body)
			if err != nil {
				return
			}
			r.answers <- answer{req.PathValue("id"), body, fail}
			w.WriteHeader(http.StatusAccepted)
		}
	}
	mux.HandleFunc("POST "+base+"{id}/response", said(false))
	mux.HandleFunc("POST "+base+"{id}/error", said(true))
	r.Server = httptest.NewServer(mux)
	t.Cleanup(r.Close)
	return r
}

// invoke hands the process one event and returns what it says of it.
func (r *runtime) invoke(t *testing.T, payload any) (body []byte, failed bool) {
	t.Helper()
	raw, err := json.Marshal(payload)
	require.NoError(t, err)
	e := event{fmt.Sprintf("request-%d", r.count.Add(1)), raw}
	deadline := time.After(40 * time.Second)
	select {
	case r.next <- e:
	case <-deadline:
		t.Fatal("the process asks for no event")
	}
	select {
	case a := <-r.answers:
		require.Equal(t, e.id, a.id)
		return a.body, a.fail
	case <-deadline:
		t.Fatal("the process gives no answer")
	}
	return nil, false
}

// world is a handler on Lambda and its stores.
type world struct {
	*kit.Database
	*runtime
	broker  *kit.Broker
	issuer  *issuer.Issuer
	process *child.Process
}

// binary is the handler, built once.
var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "lambda-")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		binary = filepath.Join(dir, "bootstrap") // as Lambda's zip calls it
		err = stage.Build(context.Background(), "../..", binary, stage.BuildOptions{Version: "lambda"})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "building the handler:", err)
		return 1
	}
	return m.Run()
}

func start(t *testing.T, settings ...string) *world {
	t.Helper()
	redis := os.Getenv("TEST_REDIS_URL")
	require.NotEmpty(t, redis, "TEST_REDIS_URL is not set: run `make test`")
	tokens, stop, err := issuer.Serve("127.0.0.1:0", issuer.Options{})
	require.NoError(t, err)
	t.Cleanup(stop)
	w := &world{Database: kit.NewDatabase(t), runtime: newRuntime(t), broker: kit.NewBroker(t), issuer: tokens}
	cmd := exec.Command(binary)
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "AWS_LAMBDA_RUNTIME_API=" + strings.TrimPrefix(w.URL, "http://"), "AWS_LAMBDA_FUNCTION_NAME=shop",
		"DATABASE_URL=" + w.AppURL, "MIGRATIONS_DATABASE_URL=" + w.OwnerURL, "REDIS_URL=" + redis, "SERVICEBUS_CONNECTION=" + w.broker.Connection,
		"AUTH_ISSUER=" + tokens.URL(), "AUTH_AUDIENCE=" + issuer.Audience, "JWT_SIGNING_KEY=a key for this test only", "WEBHOOK_SECRET=a secret for this test only",
		"ADMISSION_TARGET=5s", "ADMISSION_WAIT=5s",
	}, settings...)
	cmd.Stdout, cmd.Stderr = testLog{t}, testLog{t}
	w.process, err = child.Start(cmd, syscall.SIGKILL)
	require.NoError(t, err)
	t.Cleanup(func() { w.process.Stop(syscall.SIGKILL, time.Second) }) // as Lambda ends one
	return w
}

type testLog struct{ t *testing.T }

func (w testLog) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}
