package webhooks_test

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/functions/webhooks"
	"github.com/company/order-catalog-service/tests/kit"
)

const register = "/api/v1/webhooks/register"

func TestRegisterReadChangeDelete(t *testing.T) {
	t.Parallel()
	s := open(t, webhooks.Limits{})
	made := s.call(t, http.MethodPost, register, map[string]any{
		"url": "https://example.com/hook", "events": []string{"order.created.v1", "order.cancelled.v1", "order.created.v1"}, "description": "ERP",
	})
	require.Equal(t, http.StatusCreated, made.Status, "%s", made.Body)
	e := made.JSON(t)
	assert.Equal(t, "/api/v1/webhooks/"+e["id"].(string), made.Header.Get("Location"))
	assert.Regexp(t, `^whsec_[A-Za-z0-9+/]{43}=$`, e["secret"], "32 random bytes")
	assert.Equal(t, []any{"order.cancelled.v1", "order.created.v1"}, e["events"])
	assert.Equal(t, "enabled", e["status"])
	assert.Equal(t, "boss", e["owner"])

	path := made.Header.Get("Location")
	read := s.get(t, path)
	delete(e, "secret")
	assert.Equal(t, e, read, "the secret is shown once")
	assert.Len(t, s.get(t, "/api/v1/webhooks")["items"], 1)

	changed := s.call(t, http.MethodPatch, path, map[string]any{"url": "https://example.com/v2", "description": "new ERP", "events": []string{"*"}})
	require.Equal(t, http.StatusOK, changed.Status, "%s", changed.Body)
	assert.Equal(t, "https://example.com/v2", changed.JSON(t)["url"])
	assert.Equal(t, int64(2), kit.One[int64](t, s.Database, `SELECT version FROM webhook_endpoints`), "another URL is another version")
	s.call(t, http.MethodPatch, path, map[string]any{"description": "newer"})
	assert.Equal(t, int64(2), kit.One[int64](t, s.Database, `SELECT version FROM webhook_endpoints`), "a description isn't")

	off := s.call(t, http.MethodPatch, path, map[string]any{"status": "disabled"}).JSON(t)
	assert.Equal(t, "disabled", off["status"])
	assert.NotEmpty(t, off["disabledReason"])
	back := s.call(t, http.MethodPatch, path, map[string]any{"status": "enabled"}).JSON(t)
	assert.Equal(t, "enabled", back["status"])
	assert.NotContains(t, back, "disabledReason")

	gone := s.call(t, http.MethodDelete, path, nil)
	assert.Equal(t, http.StatusNoContent, gone.Status, "%s", gone.Body)
	assert.Equal(t, http.StatusNotFound, s.call(t, http.MethodGet, path, nil).Status)
	assert.Equal(t, http.StatusNotFound, s.call(t, http.MethodDelete, path, nil).Status)
	assert.Empty(t, s.get(t, "/api/v1/webhooks")["items"])
	assert.True(t, kit.One[bool](t, s.Database, `SELECT secret IS NULL FROM webhook_endpoints`), "a deleted endpoint has no secret")
}

// CC-03: who changes or deletes what another has changed meanwhile is told, and nothing is done.
func TestCC03EndpointsHonourIfMatch(t *testing.T) {
	t.Parallel()
	s := open(t, webhooks.Limits{})
	token := s.admin(t)
	made := s.Do(t, kit.Call{Method: http.MethodPost, Path: register, Token: token, Key: "k", Body: map[string]any{"url": "https://example.com/", "events": []string{"*"}}})
	path := made.Header.Get("Location")
	etag := s.Do(t, kit.Call{Method: http.MethodGet, Path: path, Token: token}).Header.Get("ETag")
	change := func(key, tag, text string) kit.Reply {
		return s.Do(t, kit.Call{
			Method: http.MethodPatch, Path: path, Token: token, Key: key, Header: http.Header{"If-Match": {tag}}, Body: map[string]any{"description": text},
		})
	}
	require.Equal(t, http.StatusOK, change("1", etag, "first").Status)
	assert.Equal(t, http.StatusPreconditionFailed, change("2", etag, "second").Status)
	remove := kit.Call{Method: http.MethodDelete, Path: path, Token: token, Key: "3", Header: http.Header{"If-Match": {etag}}}
	assert.Equal(t, http.StatusPreconditionFailed, s.Do(t, remove).Status)
	read := s.Do(t, kit.Call{Method: http.MethodGet, Path: path, Token: token})
	assert.Equal(t, "first", read.JSON(t)["description"])
	remove.Key, remove.Header = "4", http.Header{"If-Match": {read.Header.Get("ETag")}}
	assert.Equal(t, http.StatusNoContent, s.Do(t, remove).Status)
}

func TestEd25519EndpointsShowTheirPublicKey(t *testing.T) {
	t.Parallel()
	s := open(t, webhooks.Limits{})
	made := s.call(t, http.MethodPost, register, map[string]any{"url": "https://example.com/", "events": []string{"*"}, "signature": "ed25519"})
	require.Equal(t, http.StatusCreated, made.Status, "%s", made.Body)
	body := made.JSON(t)
	assert.Regexp(t, "^whpk_", body["publicKey"])
	assert.NotContains(t, body, "secret", "the private key never leaves")
	assert.NotContains(t, string(made.Body), "whsk_")
	path := made.Header.Get("Location")
	assert.Equal(t, body["publicKey"], s.get(t, path)["publicKey"])
	rotated := s.call(t, http.MethodPost, path+"/rotate-secret", map[string]any{}).JSON(t)
	assert.Regexp(t, "^whpk_", rotated["publicKey"])
	assert.NotEqual(t, body["publicKey"], rotated["publicKey"])
}

// TestWH02SecretsAreSealed: after registering and rotating, neither a table nor Redis holds the secret in any form,
// and a repeat with the same key still shows it whole, on another process and without Redis too.
func TestWH02SecretsAreSealed(t *testing.T) {
	t.Parallel()
	s := open(t, webhooks.Limits{})
	token := s.admin(t)
	registering := kit.Call{Method: http.MethodPost, Path: register, Token: token, Key: "k1", Body: map[string]any{"url": "https://example.com/", "events": []string{"*"}}}
	made := s.Do(t, registering)
	require.Equal(t, http.StatusCreated, made.Status, "%s", made.Body)
	rotating := kit.Call{Method: http.MethodPost, Path: made.Header.Get("Location") + "/rotate-secret", Token: token, Key: "k2", Body: map[string]any{"overlapSeconds": 60}}
	rotated := s.Do(t, rotating)
	require.Equal(t, http.StatusOK, rotated.Status, "%s", rotated.Body)

	var forms [][]byte
	for _, reply := range []kit.Reply{made, rotated} {
		secret := reply.JSON(t)["secret"].(string)
		raw, err := base64.StdEncoding.DecodeString(secret[len("whsec_"):])
		require.NoError(t, err)
		forms = append(forms, []byte("whsec_"), []byte(secret[6:]), raw)
	}
	assert.NotEqual(t, forms[1], forms[4])
	assert.Equal(t, 2, kit.One[int](t, s.Database, `SELECT count(*) FROM idempotency_keys`), "both answers are stored")
	stored := [][]byte{
		kit.One[[]byte](t, s.Database, `SELECT string_agg(body || convert_to(header::text, 'UTF8'), '') FROM idempotency_keys`),
		kit.One[[]byte](t, s.Database, `SELECT string_agg(secret || previous_secret, '') FROM webhook_endpoints`),
		[]byte(kit.One[string](t, s.Database, `SELECT string_agg(e::text, '') FROM webhook_endpoints e`)),
	}
	for i, place := range stored {
		assert.NotEmpty(t, place, "place %d", i)
		for _, form := range forms {
			assert.False(t, bytes.Contains(place, form), "place %d holds %q", i, form)
		}
	}

	assert.Empty(t, s.Mini.Keys(), "an answer that holds a secret is not in Redis, and its claim is released")

	other := s.sibling(t, webhooks.Limits{})
	replay := other.Do(t, registering)
	assert.Equal(t, string(made.Body), string(replay.Body))
	assert.Equal(t, made.Header.Get("Location"), replay.Header.Get("Location"))
	assert.Equal(t, "true", replay.Header.Get("Idempotent-Replayed"))
	s.Mini.FlushAll()
	again := other.Do(t, rotating)
	assert.Equal(t, string(rotated.Body), string(again.Body))
	assert.Equal(t, 1, kit.One[int](t, s.Database, `SELECT count(*) FROM webhook_endpoints`))
	assert.Equal(t, int64(2), kit.One[int64](t, s.Database, `SELECT version FROM webhook_endpoints`), "rotated once")

	stranger := registering
	stranger.Token = s.Token(t, "eve", manage, "admin")
	assert.NotEqual(t, string(made.Body), string(s.Do(t, stranger).Body), "a key is its caller's")
}

// TestAPI1WebhooksAreTheirOwners: what is somebody else's is as absent as what never was, and only admins register.
func TestAPI1WebhooksAreTheirOwners(t *testing.T) {
	t.Parallel()
	s := open(t, webhooks.Limits{})
	e := s.subscribe(t, "https://example.com/hook")
	eve, other := s.Token(t, "eve", manage), s.Token(t, "other", manage, "admin")
	missing := "/api/v1/webhooks/" + uuid.NewString()
	for _, c := range []struct {
		method, path string
		body         any
	}{
		{http.MethodGet, "", nil},
		{http.MethodGet, "/deliveries", nil},
		{http.MethodGet, "/deliveries/" + base64.RawURLEncoding.EncodeToString(make([]byte, 32)), nil},
		{http.MethodPatch, "", map[string]any{"description": "mine now"}},
		{http.MethodPost, "/rotate-secret", map[string]any{}},
		{http.MethodPost, "/test", map[string]any{}},
		{http.MethodPost, "/replay", map[string]any{"status": "dead"}},
		{http.MethodDelete, "", nil},
	} {
		for _, path := range []string{e.path(), missing} {
			reply := s.Do(t, kit.Call{Method: c.method, Path: path + c.path, Token: eve, Key: uuid.NewString(), Body: c.body})
			assert.Equal(t, http.StatusNotFound, reply.Status, "%s %s: %s", c.method, c.path, reply.Body)
			assert.Equal(t, "There is no such webhook endpoint, or it is not yours.", reply.JSON(t)["detail"])
		}
		reply := s.Do(t, kit.Call{Method: c.method, Path: e.path() + c.path, Token: s.Token(t, "eve", kit.Everything), Key: uuid.NewString(), Body: c.body})
		assert.Equal(t, http.StatusForbidden, reply.Status, "%s %s without the scope", c.method, c.path)
	}
	list := s.Do(t, kit.Call{Method: http.MethodGet, Path: "/api/v1/webhooks", Token: eve})
	assert.Empty(t, list.JSON(t)["items"])

	assert.Equal(t, http.StatusOK, s.Do(t, kit.Call{Method: http.MethodGet, Path: e.path(), Token: other}).Status, "any admin")
	assert.Equal(t, http.StatusOK, s.Do(t, kit.Call{Method: http.MethodGet, Path: e.path(), Token: s.Token(t, "boss", manage)}).Status, "who registered it")
	for _, c := range []kit.Call{
		{Method: http.MethodPost, Path: register, Body: map[string]any{"url": "https://example.com/", "events": []string{"*"}}, Key: "k", Token: eve},
		{Method: http.MethodGet, Path: "/api/v1/events", Token: eve},
	} {
		assert.Equal(t, http.StatusForbidden, s.Do(t, c).Status, "%s: all customers' events are for admins", c.Path)
	}
}

func TestFiftyEndpointsPerOwner(t *testing.T) {
	t.Parallel()
	s := open(t, webhooks.Limits{})
	var (
		all    sync.WaitGroup
		mu     sync.Mutex
		counts = map[int]int{}
	)
	for range 60 {
		all.Go(func() {
			reply := s.call(t, http.MethodPost, register, map[string]any{"url": "https://example.com/", "events": []string{"*"}})
			mu.Lock()
			defer mu.Unlock()
			counts[reply.Status]++
			if reply.Status == http.StatusConflict {
				assert.Equal(t, "/docs/problems/endpoint-limit", reply.JSON(t)["type"])
			}
		})
	}
	all.Wait()
	assert.Equal(t, map[int]int{http.StatusCreated: webhooks.MaxEndpoints, http.StatusConflict: 10}, counts)
	first := s.get(t, "/api/v1/webhooks?pageSize=30")
	assert.Len(t, first["items"], 30)
	second := s.get(t, "/api/v1/webhooks?pageSize=30&cursor="+first["nextCursor"].(string))
	assert.Len(t, second["items"], 20)
	assert.NotContains(t, second, "nextCursor")

	id := first["items"].([]any)[0].(map[string]any)["id"].(string)
	require.Equal(t, http.StatusNoContent, s.call(t, http.MethodDelete, "/api/v1/webhooks/"+id, nil).Status)
	assert.Equal(t, http.StatusCreated, s.call(t, http.MethodPost, register, map[string]any{"url": "https://example.com/", "events": []string{"*"}}).Status)
}

func TestWhatCouldNeverWorkIsRefused(t *testing.T) {
	t.Parallel()
	s := open(t, webhooks.Limits{})
	for pointer, body := range map[string]map[string]any{
		"/url":       {"url": "http://example.com/", "events": []string{"*"}},
		"/events/1":  {"url": "https://example.com/", "events": []string{"*", "order.shipped"}},
		"/events":    {"url": "https://example.com/", "events": []string{}},
		"/signature": {"url": "https://example.com/", "events": []string{"*"}, "signature": "rsa"},
	} {
		reply := s.call(t, http.MethodPost, register, body)
		require.Equal(t, http.StatusUnprocessableEntity, reply.Status, "%s", reply.Body)
		assert.Equal(t, pointer, reply.JSON(t)["errors"].([]any)[0].(map[string]any)["pointer"])
	}
	for _, url := range []string{"https://10.0.0.1/", "https://169.254.169.254/latest", "https://user@example.com/", "ftp://example.com/"} {
		reply := s.call(t, http.MethodPost, register, map[string]any{"url": url, "events": []string{"*"}})
		assert.Equal(t, http.StatusUnprocessableEntity, reply.Status, url)
	}
	e := s.subscribe(t, "https://example.com/")
	assert.Equal(t, http.StatusUnprocessableEntity, s.call(t, http.MethodPatch, e.path(), map[string]any{"url": "https://10.0.0.1/"}).Status)
	assert.Equal(t, http.StatusUnprocessableEntity, s.call(t, http.MethodPatch, e.path(), map[string]any{"events": []string{"x"}}).Status)
}
