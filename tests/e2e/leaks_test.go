package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/child"
	"github.com/company/order-catalog-service/infra/local/host"
	"github.com/company/order-catalog-service/tests/kit"
)

// vault is what must not be told: by name, so that a failure doesn't tell it either.
type vault struct {
	mu      sync.Mutex
	secrets map[string]string
}

func (v *vault) keep(name, secret string) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.secrets == nil {
		v.secrets = map[string]string{}
	}
	v.secrets[name] = secret
	return secret
}

// told names the secrets that are in a text, as they are or in one of the forms that programs give them.
func (v *vault) told(text string) (names []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for name, secret := range v.secrets {
		for form, s := range forms(secret) {
			if strings.Contains(text, s) {
				names = append(names, name+" ("+form+")")
				break
			}
		}
	}
	return names
}

// forms are the spellings of a secret. In base64 it depends on what stood before: three of them, without their ends.
func forms(secret string) map[string]string {
	quoted, _ := json.Marshal(secret)
	all := map[string]string{
		"plain": secret, "in a URL": url.QueryEscape(secret), "in a path": url.PathEscape(secret), "in a URL's path": (&url.URL{Path: "/" + secret}).EscapedPath()[1:], "in JSON": strings.Trim(string(quoted), `"`),
		"in hexadecimal": hex.EncodeToString([]byte(secret)), "in HEXADECIMAL": strings.ToUpper(hex.EncodeToString([]byte(secret))),
	}
	for before := range 3 {
		raw := base64.RawStdEncoding.EncodeToString(append(make([]byte, before), secret...))
		from, to := (8*before+5)/6, len(raw)-2
		if to-from < 12 {
			continue
		}
		all[fmt.Sprint("in base64, ", before)] = raw[from:to]
		all[fmt.Sprint("in base64url, ", before)] = strings.NewReplacer("+", "-", "/", "_").Replace(raw[from:to])
	}
	return all
}

// TestTheScanFindsSecrets: a scan that finds nothing is worth as much as what it would have found.
func TestTheScanFindsSecrets(t *testing.T) {
	t.Parallel()
	var v vault
	const secret = `p4ss/w0rd+"with" signs`
	v.keep("password", secret)
	v.keep("other", "something else entirely")
	quoted, err := json.Marshal(map[string]string{"error": "dial postgres://u:" + secret + "@h"})
	require.NoError(t, err)
	for name, text := range map[string]string{
		"plain": "x " + secret + " y", "JSON": string(quoted), "query": url.Values{"p": {secret}}.Encode(), "URL": (&url.URL{Path: "/" + secret}).String(),
		"hex": hex.EncodeToString([]byte("u:" + secret)), "base64": base64.StdEncoding.EncodeToString([]byte(secret)),
		"basic": "Basic " + base64.StdEncoding.EncodeToString([]byte("user:"+secret)), "basic 2": base64.URLEncoding.EncodeToString([]byte("us:" + secret + "!")),
	} {
		got := v.told(text)
		if assert.Len(t, got, 1, name) {
			assert.True(t, strings.HasPrefix(got[0], "password ("), "%s: %s", name, got)
			assert.NotContains(t, got[0], secret, "nor does the finding")
		}
	}
	assert.Empty(t, v.told("p4ss/w0rd"))
}

// emitted is all that came out of the service, with where.
type emitted struct {
	mu  sync.Mutex
	all []struct{ where, text string }
}

// Write implements io.Writer: for logs.
func (e *emitted) Write(line []byte) (int, error) {
	e.add("log", string(line))
	return len(line), nil
}

func (e *emitted) add(where, text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, struct{ where, text string }{where, text})
}

func (e *emitted) contains(where, text string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, one := range e.all {
		if strings.HasPrefix(one.where, where) && strings.Contains(one.text, text) {
			return true
		}
	}
	return false
}

// TestNothingSecretIsEmitted runs the service through a bad day and looks at everything that came out of it: what it logged
// at its most talkative, what it answered with, its metrics, its documents and what it sent to others' endpoints.
func TestNothingSecretIsEmitted(t *testing.T) {
	t.Parallel()
	var (
		v   vault
		out emitted
	)
	w := newWorld(t)
	w.heard = &out

	// Every secret that the process is given has a value that is nowhere else.
	database, err := url.Parse(w.AppURL)
	require.NoError(t, err)
	database.User = url.UserPassword(database.User.Username(), v.keep("database password", "dbpw-"+marker()))
	owner, err := url.Parse(w.OwnerURL)
	require.NoError(t, err)
	owner.User = url.UserPassword(owner.User.Username(), v.keep("owner's password", "owpw-"+marker()))
	server := kit.NewRedis(t)
	operator := redis.NewClient(&redis.Options{Addr: strings.TrimSuffix(strings.TrimPrefix(server, "redis://"), "/0")})
	defer operator.Close()
	redisPassword := v.keep("Redis password", "rdpw-"+marker())
	require.NoError(t, operator.Do(t.Context(), "ACL", "SETUSER", "svc", "on", ">"+redisPassword, "~*", "&*", "+@all").Err())
	require.Contains(t, w.broker.Connection, v.keep("Service Bus key", "SAS_KEY_VALUE"), "the emulator's, which the broker checks")
	gate := newGate(t, database.String())
	s := w.start(t, gate.url, host.Limits{}, "LOG_LEVEL=DEBUG", "MIGRATIONS_DATABASE_URL="+owner.String(),
		"REDIS_URL=redis://svc:"+redisPassword+"@"+operator.Options().Addr+"/0",
		"JWT_SIGNING_KEY="+v.keep("signing key", "jwtk-"+marker()), "WEBHOOK_SECRET="+v.keep("webhook key", "whkk-"+marker()),
		"RATE_LIMIT_REST=60/1h")

	token := func(name, sub, scope string, roles ...string) string {
		raw, err := w.issuer.Token(sub, scope, roles...)
		require.NoError(t, err)
		v.keep(name, raw)
		v.keep("signature of "+name, raw[strings.LastIndexByte(raw, '.')+1:])
		return raw
	}
	customer := "customer-" + kit.Unique(t)
	buyer, shop := token("customer's token", customer, kit.Everything), token("shop's token", "shop", "webhook:manage catalog:write", "admin")
	// ask sends a request, and keeps the answer to be looked at. own is what this one answer may tell.
	ask := func(c call, header ...string) reply {
		t.Helper()
		req, err := s.request(t.Context(), c)
		require.NoError(t, err)
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		got, err := answer(req)
		require.NoError(t, err)
		return got
	}
	see := func(c call, header ...string) reply {
		t.Helper()
		got := ask(c, header...)
		out.add(fmt.Sprint("answer ", got.status, " to ", c.method, " ", c.path), fmt.Sprint(got.header)+string(got.body))
		return got
	}

	// A shop with an endpoint: the two answers that may show its secret, and nothing else from here on.
	endpoint := newCustomer(t)
	registered := ask(call{method: http.MethodPost, path: "/api/v1/webhooks/register", token: shop, key: "register", body: map[string]any{"url": endpoint.URL, "events": []string{"*"}}})
	require.Equal(t, http.StatusCreated, registered.status, "%s", registered.body)
	var made struct{ Secret string }
	require.NoError(t, json.Unmarshal(registered.body, &made))
	v.keep("endpoint's secret", made.Secret)
	v.keep("endpoint's secret, bare", strings.TrimPrefix(made.Secret, "whsec_"))
	hook := registered.header.Get("Location")
	rotated := ask(call{method: http.MethodPost, path: hook + "/rotate-secret", token: shop, key: "rotate", body: map[string]any{"overlapSeconds": 3600}})
	require.NoError(t, json.Unmarshal(rotated.body, &made))
	v.keep("endpoint's new secret", made.Secret)

	// What goes well.
	product := w.Product(t, 10).String()
	order := draft(customer, map[string]int{product: 1})
	placed := see(call{method: http.MethodPost, path: "/api/v1/orders", token: buyer, key: "order", body: order}, "X-Correlation-ID", "canary-of-the-scan")
	require.Equal(t, http.StatusCreated, placed.status, "%s", placed.body)
	delivered := endpoint.next(t, time.Minute)
	out.add("delivery", fmt.Sprint(delivered.header)+string(delivered.body))
	for _, path := range []string{
		"/api/v1/products", "/api/v1/products/" + product, placed.header.Get("Location"), "/api/v1/orders", hook, hook + "/deliveries", "/api/v1/webhooks", "/api/v1/events",
		"/openapi.json", "/openapi.yaml", "/docs/", "/docs/problems", "/health/ready", "/health/live", "/health/startup",
	} {
		who := buyer
		if strings.Contains(path, "webhooks") || strings.Contains(path, "events") || strings.Contains(path, "health") {
			who = shop
		}
		see(call{method: http.MethodGet, path: path, token: who})
	}

	// What does not: tokens of all sorts, secrets where they don't belong, and bodies that can't be read.
	stolen := v.keep("a stranger's token", "eyJhbGciOiJub25lIn0."+marker()+".")
	basic := base64.StdEncoding.EncodeToString([]byte("user:" + v.keep("a stranger's password", "bapw-"+marker())))
	for _, authorization := range []string{"Bearer " + stolen, "Bearer " + buyer + "x", "Basic " + basic, "Bearer " + stolen + " " + stolen, stolen, "Digest " + stolen} {
		see(call{method: http.MethodGet, path: "/api/v1/orders"}, "Authorization", authorization)
		see(call{method: http.MethodPost, path: "/api/v1/orders", key: "k", body: order}, "Authorization", authorization)
	}
	see(call{method: http.MethodPost, path: "/api/v1/webhooks/register", token: buyer, key: "k", body: map[string]any{"url": endpoint.URL, "events": []string{"*"}}})
	see(call{method: http.MethodPatch, path: hook, token: shop, key: "bad", body: map[string]any{"status": "neither", "url": "ftp://x"}})
	see(call{method: http.MethodPost, path: "/api/v1/orders", token: buyer, key: "order", body: draft(customer, map[string]int{product: 2})}) // reused
	see(call{method: http.MethodPost, path: "/api/v1/orders", token: buyer, key: uuid.NewString(), body: draft(customer, map[string]int{product: 99})})
	see(call{method: http.MethodPost, path: "/api/v1/orders", token: buyer, body: order}) // no key
	see(call{method: http.MethodPost, path: "/api/v1/orders", token: buyer, key: uuid.NewString(), body: "not an order"})
	see(call{method: http.MethodGet, path: "/api/v1/products?cursor=x", token: buyer})
	see(call{method: http.MethodTrace, path: "/api/v1/orders", token: buyer})
	see(call{method: http.MethodGet, path: "/nowhere", token: buyer})
	for range 80 { // until the quota is used up
		if see(call{method: http.MethodGet, path: "/api/v1/webhooks", token: shop}).status == http.StatusTooManyRequests {
			break
		}
	}

	// A bad day: an endpoint that fails, Redis that forgets who we are, a broker and a database that hang up.
	endpoint.mu.Lock()
	endpoint.answer = func(rw http.ResponseWriter, r *http.Request) {
		http.Error(rw, "no: "+r.Header.Get("webhook-signature")[:2], http.StatusInternalServerError)
	}
	endpoint.mu.Unlock()
	see(call{method: http.MethodPost, path: "/api/v1/orders", token: buyer, key: uuid.NewString(), body: order})
	endpoint.next(t, time.Minute)
	require.NoError(t, operator.Do(t.Context(), "ACL", "SETUSER", "svc", "off").Err())
	require.NoError(t, operator.Do(t.Context(), "CLIENT", "KILL", "USER", "svc").Err())
	w.broker.DropConnections()
	itself, err := pgx.Connect(t.Context(), w.AppURL)
	require.NoError(t, err)
	_, err = itself.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()`)
	require.NoError(t, err)
	require.NoError(t, itself.Close(t.Context()))
	for range 5 {
		see(call{method: http.MethodPost, path: "/api/v1/orders", token: buyer, key: uuid.NewString(), body: order})
		see(call{method: http.MethodGet, path: "/api/v1/orders", token: buyer})
	}
	see(call{method: http.MethodGet, path: "/health/ready", token: shop})
	see(call{method: http.MethodGet, path: "/metrics"})
	out.add("starts that failed", failedStarts(t, &v))

	// It has looked at what it says that it looks at.
	require.True(t, out.contains("log", "level"), "the log was heard")
	require.True(t, out.contains("log", "WRONGPASS") && out.contains("log", "57P01"), "the bad day was heard of")
	require.True(t, out.contains("answer 200 to GET /metrics", "http_requests_total"))
	require.True(t, out.contains("answer 201", "canary-of-the-scan"))
	require.True(t, out.contains("answer 429", "quota-exceeded"))
	require.True(t, out.contains("answer 401", "invalid_token"))
	require.True(t, out.contains("answer 409", "sold-out"))
	require.True(t, out.contains("delivery", "webhook-signature") || out.contains("delivery", "Webhook-Signature"))
	require.Greater(t, len(v.secrets), 12)

	out.mu.Lock()
	defer out.mu.Unlock()
	for _, one := range out.all {
		assert.Empty(t, v.told(one.text), "in: %s", one.where)
		if one.where == "log" || strings.HasSuffix(one.where, "/metrics") {
			for _, private := range []string{"1 Main Street", "Ada Lovelace", customer} {
				assert.NotContains(t, one.text, private, "people are nobody's business: %s", one.where)
			}
		}
	}
}

// failedStarts is what the handler says when it is given settings that don't work.
func failedStarts(t *testing.T, v *vault) string {
	t.Helper()
	port, err := child.FreePort()
	require.NoError(t, err)
	good := map[string]string{
		"FUNCTIONS_CUSTOMHANDLER_PORT": fmt.Sprint(port), "DATABASE_URL": "postgres://u:" + v.keep("password of a database that isn't there", "gone-"+marker()) + "@127.0.0.1:1/d",
		"AUTH_ISSUER": "http://127.0.0.1:1", "AUTH_AUDIENCE": "a", "JWT_SIGNING_KEY": v.keep("another signing key", "jwt2-"+marker()),
		"WEBHOOK_SECRET": v.keep("another webhook key", "whk2-"+marker()), "LOG_LEVEL": "DEBUG",
		"SERVICEBUS_CONNECTION": "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=n;SharedAccessKey=" + v.keep("another Service Bus key", "sbk2-"+marker()) + ";UseDevelopmentEmulator=true;",
	}
	var said bytes.Buffer
	for _, bad := range []map[string]string{
		{}, // it starts, and waits for its database
		{"DATABASE_URL": "postgres://u:" + v.keep("password in a broken URL", "brok-"+marker()) + "@%zz/d"},
		{"DATABASE_URL": "host=x password=" + v.keep("password in a broken string", "bros-"+marker()) + " port=x"},
		{"REDIS_URL": "redis://u:" + v.keep("Redis password in a broken URL", "brod-"+marker()) + "@%zz"},
		{"REDIS_URL": "http://u:" + v.keep("Redis password with another scheme", "broh-"+marker()) + "@x"},
		{"REDLOCK_URLS": "redis://u:" + v.keep("RedLock password in a broken URL", "brol-"+marker()) + "@:x"},
		{"SERVICEBUS_CONNECTION": "SharedAccessKey=" + v.keep("key in a broken connection", "brsb-"+marker())},
		{"DB_POOL_ORDERS": v.keep("a secret where a number belongs", "numb-"+marker()), "RATE_LIMIT_REST": v.keep("one where a policy belongs", "poli-"+marker())},
		{"CORS_ALLOWED_ORIGINS": v.keep("one where an origin belongs", "orig-"+marker()), "RATE_LIMIT_CLIENTS": v.keep("one where clients belong", "clie-"+marker())},
		{"JWT_SIGNING_KEY": "short", "WEBHOOK_SECRET": "short", "AUTH_ISSUER": "ftp://" + v.keep("one where an issuer belongs", "issu-"+marker())},
	} {
		env := make([]string, 0, len(good))
		for name, value := range good {
			if other, ok := bad[name]; ok {
				value = other
			}
			env = append(env, name+"="+value)
		}
		for name, value := range bad {
			env = append(env, name+"="+value)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		start := exec.CommandContext(ctx, filepath.Join(filepath.Dir(scriptRoot), "handler"))
		start.Env = env
		out, _ := start.CombinedOutput() // it fails, or is ended
		cancel()
		require.NotEmpty(t, out, "%d", len(bad))
		said.Write(out)
	}
	return said.String()
}

func marker() string { return strings.ReplaceAll(uuid.NewString(), "-", "") }
