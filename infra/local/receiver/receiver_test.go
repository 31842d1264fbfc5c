package receiver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/egress"
	"github.com/company/order-catalog-service/shared/signature"
)

const created = `{"type":"order.created.v1","id":"evt_1"}`

// kit is a running receiver, and the sender that the service itself uses.
type kit struct {
	url    string
	key    signature.Key
	sender *egress.Client
}

func start(t *testing.T) kit {
	t.Helper()
	url, stop, err := New().Serve("127.0.0.1:0")
	require.NoError(t, err)
	k := kit{url: url, key: signature.NewSecret(), sender: egress.New(egress.Options{AllowLoopback: true, Timeout: 30 * time.Second})}
	t.Cleanup(func() { k.sender.Close(); stop() })
	status, _ := k.call(t, http.MethodPost, "/secrets", `{"id":"wh_1","url":"`+url+`/hook","secret":"`+k.key.Text()+`"}`)
	require.Equal(t, http.StatusOK, status)
	return k
}

func (k kit) call(t *testing.T, method, path, body string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, k.url+path, strings.NewReader(body))
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	var out map[string]any
	if len(raw) > 0 {
		require.NoError(t, json.Unmarshal(raw, &out), "%s", raw)
	}
	return res.StatusCode, out
}

// deliver signs and posts as the service does.
func (k kit) deliver(t *testing.T, path, id, body string, keys ...signature.Key) (egress.Result, error) {
	t.Helper()
	if keys == nil {
		keys = []signature.Key{k.key}
	}
	h := http.Header{"Content-Type": {"application/json"}}
	require.NoError(t, signature.Sign(h, id, time.Now(), []byte(body), keys...))
	return k.sender.Post(t.Context(), k.url+path, h, []byte(body))
}

func (k kit) report(t *testing.T, query string) Report {
	t.Helper()
	res, err := http.Get(k.url + "/received" + query)
	require.NoError(t, err)
	defer res.Body.Close()
	var out Report
	require.NoError(t, json.NewDecoder(res.Body).Decode(&out))
	return out
}

func TestReceived(t *testing.T) {
	t.Parallel()
	k := start(t)
	result, err := k.deliver(t, "/hook", "evt_1", created)
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, result.Status)
	got := k.report(t, "")
	require.Len(t, got.Deliveries, 1)
	d := got.Deliveries[0]
	assert.WithinDuration(t, time.Now(), d.At, time.Minute)
	d.At = time.Time{}
	assert.Equal(t, Delivery{N: 1, ID: "evt_1", Type: "order.created.v1", Mode: "ok", Status: 200, Verified: true, Attempt: 1, Body: created}, d)
	assert.Equal(t, Totals{Received: 1, Accepted: 1}, got.Totals)

	status, _ := k.call(t, http.MethodDelete, "/received", "")
	assert.Equal(t, http.StatusNoContent, status)
	assert.Equal(t, Report{Deliveries: []Delivery{}}, k.report(t, ""))
}

// TestDuplicates: a repeat after a failure is an attempt; a repeat after success is a duplicate; other bytes under
// a known id are somebody's mistake, and shown.
func TestDuplicates(t *testing.T) {
	t.Parallel()
	k := start(t)
	for _, path := range []string{"/hook/fail", "/hook", "/hook", "/hook/fail"} {
		_, err := k.deliver(t, path, "evt_1", created)
		require.NoError(t, err)
	}
	_, err := k.deliver(t, "/hook", "evt_1", created+" ")
	require.NoError(t, err)
	_, err = k.deliver(t, "/hook", "evt_1", created, signature.NewSecret())
	require.NoError(t, err)
	_, err = k.deliver(t, "/hook", "evt_2", created)
	require.NoError(t, err)

	got := k.report(t, "")
	type seen struct {
		attempt            int
		duplicate, changed bool
	}
	var list []seen
	for _, d := range got.Deliveries {
		list = append(list, seen{d.Attempt, d.Duplicate, d.Changed})
	}
	assert.Equal(t, []seen{
		{1, false, false}, // evt_2
		{0, false, false}, // not signed by the sender: counts for nobody
		{5, true, true},
		{4, true, false},
		{3, true, false},
		{2, false, false},
		{1, false, false},
	}, list, "newest first")
	assert.Equal(t, Totals{Received: 7, Accepted: 2, Duplicates: 3, Unverified: 1, Changed: 1}, got.Totals)
}

func TestUnverified(t *testing.T) {
	t.Parallel()
	k := start(t)
	result, err := k.deliver(t, "/hook", "evt_1", created, signature.NewSecret())
	require.NoError(t, err)
	assert.Equal(t, http.StatusUnauthorized, result.Status)
	assert.Contains(t, result.Excerpt, "no signature fits")

	result, err = k.deliver(t, "/hook/fail", "evt_1", created, signature.NewSecret())
	require.NoError(t, err)
	assert.Equal(t, http.StatusInternalServerError, result.Status, "a mode that fails fails first")

	recorder := httptest.NewRecorder()
	New().Handler().ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, "/hook", strings.NewReader(created)))
	assert.Equal(t, http.StatusUnauthorized, recorder.Code)
	assert.Contains(t, recorder.Body.String(), "pipe the answer of register into POST /secrets")
}

// TestSecrets: the answers of register and rotate are taken as they are, and the key before stays valid for the
// overlap; so is the public key of an ed25519 endpoint.
func TestSecrets(t *testing.T) {
	t.Parallel()
	k := start(t)
	next, private := signature.NewSecret(), signature.NewEd25519()
	public, _ := private.PublicKey()
	status, answer := k.call(t, http.MethodPost, "/secrets", `{"secret":"`+next.Text()+`","previousSecretExpiresAt":"2030-01-01T00:00:00Z"}`)
	assert.Equal(t, http.StatusOK, status)
	assert.EqualValues(t, 2, answer["keys"])
	status, answer = k.call(t, http.MethodPost, "/secrets", `{"id":"wh_2","publicKey":"`+public.Text()+`"}`)
	assert.Equal(t, http.StatusOK, status)
	assert.Equal(t, "wh_2", answer["endpoint"])
	for n, key := range []signature.Key{k.key, next, private} {
		result, err := k.deliver(t, "/hook", "evt_"+strconv.Itoa(n), created, key)
		require.NoError(t, err)
		assert.Equal(t, http.StatusOK, result.Status)
	}

	status, answer = k.call(t, http.MethodPost, "/secrets", `{"type":"/docs/problems/forbidden","status":403}`)
	assert.Equal(t, http.StatusUnprocessableEntity, status)
	assert.Contains(t, answer["received"], "problems/forbidden", "who pipes must see why nothing was registered")
	status, answer = k.call(t, http.MethodPost, "/secrets", `{"secret":"whsec_c2hvcnQ="}`)
	assert.Equal(t, http.StatusUnprocessableEntity, status)
	assert.Contains(t, answer["error"], "24 to 64 bytes")

	for range maxKeys {
		_, answer = k.call(t, http.MethodPost, "/secrets", `{"secret":"`+signature.NewSecret().Text()+`"}`)
	}
	assert.EqualValues(t, maxKeys, answer["keys"])
}

// TestModes: each way to answer, as the service's own sender sees it. A mode in the path, and the switch, do the same.
func TestModes(t *testing.T) {
	t.Parallel()
	within := func(seconds int) func(*testing.T, egress.Result) {
		return func(t *testing.T, r egress.Result) {
			t.Helper()
			after := r.Header.Get("Retry-After")
			if n, err := strconv.Atoi(after); err == nil {
				assert.Equal(t, seconds, n)
				return
			}
			at, err := http.ParseTime(after)
			require.NoError(t, err)
			assert.WithinDuration(t, time.Now().Add(time.Duration(seconds)*time.Second), at, 5*time.Second)
		}
	}
	none := func(*testing.T, egress.Result) {}
	for name, c := range map[string]struct {
		status int
		err    error
		check  func(*testing.T, egress.Result)
	}{
		"ok":               {200, nil, none},
		"fail":             {500, nil, none},
		"gone":             {410, nil, none},
		"retry-after":      {429, nil, within(10)},
		"retry-after-date": {503, nil, within(10)},
		"redirect":         {307, nil, none},
		"hang":             {0, egress.ErrTimeout, none},
		"slow-drip":        {200, egress.ErrTimeout, none},
		"reset":            {0, egress.ErrAnswer, none},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := start(t)
			if errors.Is(c.err, egress.ErrTimeout) {
				k.sender = egress.New(egress.Options{AllowLoopback: true, Timeout: 300 * time.Millisecond})
			}
			status, _ := k.call(t, http.MethodPost, "/switch", `{"mode":"`+name+`"}`)
			require.Equal(t, http.StatusOK, status)
			for n, path := range []string{"/hook/" + name, "/hook"} {
				result, err := k.deliver(t, path, "evt_1", created)
				require.ErrorIs(t, err, c.err)
				assert.Equal(t, c.status, result.Status)
				c.check(t, result)
				got := k.report(t, "")
				require.Len(t, got.Deliveries, n+1, "a followed redirect would be one more")
				assert.Equal(t, name, got.Deliveries[0].Mode)
				assert.Equal(t, c.status, got.Deliveries[0].Status)
				assert.Equal(t, n+1, got.Deliveries[0].Attempt)
				assert.Equal(t, name == "ok" && n == 1, got.Deliveries[0].Duplicate)
			}
		})
	}
	assert.Len(t, modes, 9, "each mode has a line above")
}

// TestReset: the connection is cut, not closed in good order.
func TestReset(t *testing.T) {
	t.Parallel()
	_, err := start(t).deliver(t, "/hook/reset", "evt_1", created)
	var failure *egress.Error
	require.ErrorAs(t, err, &failure)
	assert.ErrorIs(t, failure.Cause, syscall.ECONNRESET)
}

// TestDelaysEndWithTheSender: who gave up leaves nothing behind here, and stop waits for no delayed answer.
func TestDelaysEndWithTheSender(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"hang", "slow-drip"} {
		ended := make(chan struct{})
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			New().Handler().ServeHTTP(w, r)
			close(ended)
		}))
		t.Cleanup(server.Close)
		_, err := egress.New(egress.Options{AllowLoopback: true, Timeout: 100 * time.Millisecond}).
			Post(t.Context(), server.URL+"/hook/"+mode, nil, []byte(created))
		require.ErrorIs(t, err, egress.ErrTimeout)
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			t.Fatalf("%s goes on without its sender", mode)
		}
	}
}

func TestWhatItRefuses(t *testing.T) {
	t.Parallel()
	k := start(t)
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{http.MethodPost, "/hook/explode", created, http.StatusNotFound},
		{http.MethodPost, "/hook", strings.Repeat("b", maxBody+1), http.StatusRequestEntityTooLarge},
		{http.MethodPost, "/switch", `{"mode":"explode"}`, http.StatusUnprocessableEntity},
		{http.MethodPost, "/switch", `fail`, http.StatusBadRequest},
	} {
		status, answer := k.call(t, c.method, c.path, c.body)
		assert.Equal(t, c.status, status, c.path)
		assert.NotEmpty(t, answer["error"])
	}
	assert.Zero(t, k.report(t, "").Totals.Received)

	req, err := http.NewRequest(http.MethodPost, k.url+"/switch", strings.NewReader(`{"mode":"fail"}`))
	require.NoError(t, err)
	req.Header.Set("Origin", "https://evil.example")
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	assert.Equal(t, http.StatusForbidden, res.StatusCode, "another site in the same browser")
}

// TestMemory: the newest thousand are shown; an id is known for longer.
func TestMemory(t *testing.T) {
	t.Parallel()
	var l log
	for n := range maxDeliveries + 10 {
		l.add(Delivery{ID: "evt_" + strconv.Itoa(n), Mode: modeOK, Status: http.StatusOK, Verified: true}, bytes.Repeat([]byte("b"), maxExcerpt+n))
	}
	got := l.report(5000)
	require.Len(t, got.Deliveries, maxDeliveries)
	assert.Equal(t, "evt_1009", got.Deliveries[0].ID)
	assert.Equal(t, "evt_10", got.Deliveries[maxDeliveries-1].ID)
	assert.Len(t, got.Deliveries[0].Body, maxExcerpt)
	assert.Len(t, l.report(3).Deliveries, 3)
	l.add(Delivery{ID: "evt_0", Mode: modeOK, Status: http.StatusOK, Verified: true}, []byte("b"))
	d := l.report(1).Deliveries[0]
	assert.True(t, d.Duplicate)
	assert.True(t, d.Changed)

	for n := range maxIDs {
		l.add(Delivery{ID: "more_" + strconv.Itoa(n), Mode: modeOK, Status: http.StatusOK, Verified: true}, nil)
	}
	assert.Len(t, l.ids, maxIDs)
	assert.Len(t, l.order, maxIDs)
}

func TestPage(t *testing.T) {
	t.Parallel()
	k := start(t)
	for path, kind := range map[string]string{"/": "text/html", "/page.js": "text/javascript", "/page.css": "text/css"} {
		res, err := http.Get(k.url + path)
		require.NoError(t, err)
		defer res.Body.Close()
		assert.Equal(t, http.StatusOK, res.StatusCode)
		assert.Contains(t, res.Header.Get("Content-Type"), kind)
		assert.Contains(t, res.Header.Get("Content-Security-Policy"), "script-src 'self'")
	}
}

// TestCommand runs what is printed, with a stand-in for the API, in a shell: what it pipes must arrive.
func TestCommand(t *testing.T) {
	t.Parallel()
	k := start(t)
	secret := signature.NewSecret()
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			URL    string   `json:"url"`
			Events []string `json:"events"`
		}
		assert.NoError(t, json.NewDecoder(r.Body).Decode(&in))
		assert.Equal(t, k.url+"/hook", in.URL)
		assert.Contains(t, in.Events, "order.created.v1")
		assert.Equal(t, "POST /api/v1/webhooks/register", r.Method+" "+r.URL.Path)
		assert.Equal(t, "Bearer a-token", r.Header.Get("Authorization"))
		assert.NotEmpty(t, r.Header.Get("Idempotency-Key"))
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, "{\n \"id\": \"wh_9\", \"secret\": %q\n}\n", secret.Text())
	}))
	t.Cleanup(api.Close)
	out, err := exec.CommandContext(t.Context(), "bash", "-c", "make() { echo a-token; }\n"+Command(api.URL, k.url)).Output()
	require.NoError(t, err)
	assert.Contains(t, string(out), `"endpoint":"wh_9"`)
	result, err := k.deliver(t, "/hook", "evt_1", created, secret)
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, result.Status)
}
