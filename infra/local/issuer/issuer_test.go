package issuer

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"
	"github.com/lestrrat-go/jwx/v3/jwt"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func serve(t *testing.T, o Options) *Issuer {
	t.Helper()
	i, stop, err := Serve("127.0.0.1:0", o)
	require.NoError(t, err)
	t.Cleanup(stop)
	return i
}

// get reads a JSON document as any client would.
func get(t *testing.T, address string) []byte {
	t.Helper()
	res, err := http.Get(address)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	require.Equal(t, http.StatusOK, res.StatusCode)
	raw, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return raw
}

// ask posts a form to the token endpoint.
func ask(t *testing.T, i *Issuer, form url.Values) (status int, body map[string]any) {
	t.Helper()
	res, err := http.PostForm(i.URL()+"/token", form)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	assert.Equal(t, "application/json", res.Header.Get("Content-Type"))
	assert.Equal(t, "no-store", res.Header.Get("Cache-Control"))
	require.NoError(t, json.NewDecoder(res.Body).Decode(&body))
	return res.StatusCode, body
}

func credentials(more ...string) url.Values {
	form := url.Values{"grant_type": {"client_credentials"}, "sub": {"customer-1"}, "scope": {"order:read order:write"}}
	for n := 0; n < len(more); n += 2 {
		form.Add(more[n], more[n+1])
	}
	return form
}

// verify checks a token the way a stranger does: discovery, then the keys found there, and nothing else.
func verify(t *testing.T, i *Issuer, token string) (jwt.Token, jws.Headers) {
	t.Helper()
	var discovery struct {
		Issuer string `json:"issuer"`
		JWKS   string `json:"jwks_uri"`
	}
	require.NoError(t, json.Unmarshal(get(t, i.URL()+"/.well-known/openid-configuration"), &discovery))
	assert.Equal(t, i.URL(), discovery.Issuer)
	raw := get(t, discovery.JWKS)
	assert.NotContains(t, string(raw), `"d":`, "the private key stays here")
	keys, err := jwk.Parse(raw)
	require.NoError(t, err)
	parsed, err := jwt.Parse([]byte(token), jwt.WithKeySet(keys), jwt.WithIssuer(discovery.Issuer))
	require.NoError(t, err)
	message, err := jws.Parse([]byte(token))
	require.NoError(t, err)
	return parsed, message.Signatures()[0].ProtectedHeaders()
}

func claims(t *testing.T, token jwt.Token) map[string]any {
	t.Helper()
	raw, err := json.Marshal(token)
	require.NoError(t, err)
	var all map[string]any
	require.NoError(t, json.Unmarshal(raw, &all))
	return all
}

func TestAStrangerCanVerifyATokenAndItSaysWhatWasAsked(t *testing.T) {
	t.Parallel()
	i := serve(t, Options{})
	status, body := ask(t, i, credentials("roles", "admin,auditor", "roles", "support", "email", "ada@example.com"))
	require.Equal(t, http.StatusOK, status)
	assert.Equal(t, "Bearer", body["token_type"])
	assert.EqualValues(t, 900, body["expires_in"])

	token, header := verify(t, i, body["access_token"].(string))
	kind, _ := header.Type()
	assert.Equal(t, "at+jwt", kind)
	algorithm, _ := header.Algorithm()
	assert.Equal(t, "RS256", algorithm.String())
	id, _ := header.KeyID()
	assert.NotEmpty(t, id, "without it, keys can't be rotated")

	says := claims(t, token)
	assert.Equal(t, "customer-1", says["sub"])
	assert.Equal(t, []any{Audience}, says["aud"])
	assert.Equal(t, "order:read order:write", says["scp"])
	assert.Equal(t, []any{"admin", "auditor", "support"}, says["roles"])
	assert.Equal(t, "ada@example.com", says["email"])
	assert.NotEmpty(t, says["azp"])
	assert.NotEmpty(t, says["jti"])
	assert.Equal(t, says["iat"], says["nbf"])
	issued, _ := token.IssuedAt()
	expires, _ := token.Expiration()
	assert.Equal(t, 15*time.Minute, expires.Sub(issued))
}

func TestWhatWasNotAskedIsNotClaimed(t *testing.T) {
	t.Parallel()
	i := serve(t, Options{})
	first, err := i.Token("customer-1", "")
	require.NoError(t, err)
	second, err := i.Token("customer-1", "")
	require.NoError(t, err)
	token, _ := verify(t, i, first)
	other, _ := verify(t, i, second)
	says := claims(t, token)
	for _, name := range []string{"scp", "roles", "email"} {
		assert.NotContains(t, says, name)
	}
	assert.NotEqual(t, says["jti"], claims(t, other)["jti"])
}

func TestTheAudienceIsTheOneItWasTold(t *testing.T) {
	t.Parallel()
	i := serve(t, Options{Audience: "api://another"})
	text, err := i.Token("customer-1", "order:read")
	require.NoError(t, err)
	token, _ := verify(t, i, text)
	assert.Equal(t, []any{"api://another"}, claims(t, token)["aud"])
}

func refreshing(body map[string]any, more ...string) url.Values {
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {body["refresh_token"].(string)}}
	for n := 0; n < len(more); n += 2 {
		form.Add(more[n], more[n+1])
	}
	return form
}

func TestARefreshTokenIsGoodOnce(t *testing.T) {
	t.Parallel()
	i := serve(t, Options{})
	_, first := ask(t, i, credentials("roles", "admin"))

	status, second := ask(t, i, refreshing(first))
	require.Equal(t, http.StatusOK, status)
	token, _ := verify(t, i, second["access_token"].(string))
	says := claims(t, token)
	assert.Equal(t, "customer-1", says["sub"])
	assert.Equal(t, "order:read order:write", says["scp"])
	assert.Equal(t, []any{"admin"}, says["roles"])

	status, third := ask(t, i, refreshing(second))
	require.Equal(t, http.StatusOK, status, "the one it was exchanged for is good")

	status, refused := ask(t, i, refreshing(first))
	assert.Equal(t, http.StatusBadRequest, status)
	assert.Equal(t, "invalid_grant", refused["error"])
	status, _ = ask(t, i, refreshing(third))
	assert.Equal(t, http.StatusBadRequest, status, "one of the family was copied: it ends as a whole")
}

func TestARefreshNarrowsButNeverWidens(t *testing.T) {
	t.Parallel()
	i := serve(t, Options{})
	_, first := ask(t, i, credentials())
	status, narrow := ask(t, i, refreshing(first, "scope", "order:read"))
	require.Equal(t, http.StatusOK, status)
	token, _ := verify(t, i, narrow["access_token"].(string))
	assert.Equal(t, "order:read", claims(t, token)["scp"])

	status, wide := ask(t, i, refreshing(narrow))
	require.Equal(t, http.StatusOK, status)
	token, _ = verify(t, i, wide["access_token"].(string))
	assert.Equal(t, "order:read order:write", claims(t, token)["scp"], "the grant stays as wide as it was")

	status, refused := ask(t, i, refreshing(wide, "scope", "order:read webhook:manage"))
	assert.Equal(t, http.StatusBadRequest, status)
	assert.Equal(t, "invalid_scope", refused["error"])
}

func TestOneOfManyAtOnceGetsTheRefresh(t *testing.T) {
	t.Parallel()
	out, now := newGrants(), time.Now()
	token := out.begin(grant{sub: "customer-1"}, now)
	var (
		wait sync.WaitGroup
		won  = make(chan struct{}, 32)
	)
	for range cap(won) {
		wait.Go(func() {
			if _, _, ok := out.redeem(token, now); ok {
				won <- struct{}{}
			}
		})
	}
	wait.Wait()
	assert.Len(t, won, 1)
}

func TestAnExpiredRefreshTokenIsRefusedAndForgotten(t *testing.T) {
	t.Parallel()
	out, now := newGrants(), time.Now()
	used := out.begin(grant{sub: "a"}, now)
	later := now.Add(refreshLife)
	what, next, ok := out.redeem(used, later)
	require.True(t, ok, "its last moment")
	assert.Equal(t, "a", what.sub)
	_, _, ok = out.redeem(next, later.Add(refreshLife+1))
	assert.False(t, ok)

	out.begin(grant{sub: "never used"}, now)
	out.begin(grant{sub: "c"}, now.Add(refreshLife+1))
	assert.Len(t, out.families, 1, "the old are swept when a new one begins")
}

func TestRefusalsSayWhatToSend(t *testing.T) {
	t.Parallel()
	i := serve(t, Options{})
	for name, c := range map[string]struct {
		form        url.Values
		code, hints string
	}{
		"nothing":         {url.Values{}, "invalid_request", "grant_type"},
		"no subject":      {url.Values{"grant_type": {"client_credentials"}}, "invalid_request", "sub"},
		"two subjects":    {credentials("sub", "customer-2"), "invalid_request", "more than once"},
		"a broken scope":  {url.Values{"grant_type": {"client_credentials"}, "sub": {"a"}, "scope": {"a  b"}}, "invalid_scope", "one space"},
		"another grant":   {url.Values{"grant_type": {"password"}}, "unsupported_grant_type", "client_credentials"},
		"unknown refresh": {url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}}, "invalid_grant", "refresh token"},
		"too much":        {url.Values{"grant_type": {strings.Repeat("x", 65<<10)}}, "invalid_request", "form"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, body := ask(t, i, c.form)
			assert.Equal(t, http.StatusBadRequest, status)
			assert.Equal(t, c.code, body["error"])
			assert.Contains(t, body["error_description"], c.hints)
			assert.NotContains(t, body, "access_token")
		})
	}
}

func TestOnlyAFormIsAForm(t *testing.T) {
	t.Parallel()
	i := serve(t, Options{})
	res, err := http.Post(i.URL()+"/token?"+credentials().Encode(), "application/x-www-form-urlencoded", nil)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	assert.Equal(t, http.StatusBadRequest, res.StatusCode)

	res, err = http.Post(i.URL()+"/token", "application/json", strings.NewReader(`{"grant_type":"client_credentials","sub":"a"}`))
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	assert.Equal(t, http.StatusBadRequest, res.StatusCode)
	raw, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	assert.Contains(t, string(raw), "application/x-www-form-urlencoded")
}

func TestTokensOutliveARestart(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "stack", "issuer.pem")
	before, err := New("http://127.0.0.1:7072", Options{KeyFile: file})
	require.NoError(t, err)
	text, err := before.Token("customer-1", "order:read")
	require.NoError(t, err)
	after, err := New("http://127.0.0.1:7072", Options{KeyFile: file})
	require.NoError(t, err)
	_, err = jwt.Parse([]byte(text), jwt.WithKeySet(published(t, after)))
	require.NoError(t, err)

	info, err := os.Stat(file)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	stranger, err := New("http://127.0.0.1:7072", Options{})
	require.NoError(t, err)
	_, err = jwt.Parse([]byte(text), jwt.WithKeySet(published(t, stranger)))
	require.Error(t, err, "another issuer's keys are others")
}

func published(t *testing.T, i *Issuer) jwk.Set {
	t.Helper()
	keys, err := i.keys.public()
	require.NoError(t, err)
	return keys
}

// ids are the published keys' names.
func ids(t *testing.T, raw []byte) (out []string) {
	t.Helper()
	var doc struct {
		Keys []struct {
			ID  string `json:"kid"`
			Alg string `json:"alg"`
		} `json:"keys"`
	}
	require.NoError(t, json.Unmarshal(raw, &doc), "%s", raw)
	for _, key := range doc.Keys {
		out = append(out, key.Alg+" "+key.ID)
	}
	return out
}

func rotate(t *testing.T, i *Issuer, form url.Values) []string {
	t.Helper()
	res, err := http.PostForm(i.URL()+"/rotate", form)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	require.Equal(t, http.StatusOK, res.StatusCode)
	raw, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return ids(t, raw)
}

// The next key is known to verifiers before it signs, and the former until it is rotated away.
func TestRotationPublishesAheadAndKeepsTheFormerKey(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "issuer.pem")
	i := serve(t, Options{KeyFile: file})
	signedWith := func() string {
		text, err := i.Token("customer-1", "order:read")
		require.NoError(t, err)
		_, header := verify(t, i, text)
		alg, _ := header.Algorithm()
		id, _ := header.KeyID()
		return alg.String() + " " + id
	}
	first := ids(t, get(t, i.URL()+"/jwks"))
	require.Len(t, first, 2)
	assert.Equal(t, first[0], signedWith())
	old, err := i.Token("customer-1", "order:read")
	require.NoError(t, err)

	second := rotate(t, i, nil)
	require.Len(t, second, 3)
	assert.Equal(t, first[1], second[0], "the one that was published ahead")
	assert.Equal(t, first[0], second[2], "the former one")
	assert.Equal(t, second[0], signedWith())
	assert.NotEqual(t, strings.Fields(second[0])[0], strings.Fields(first[0])[0], "another kind of key")
	verify(t, i, old)

	again, err := New(i.URL(), Options{KeyFile: file})
	require.NoError(t, err)
	raw, err := json.Marshal(published(t, again))
	require.NoError(t, err)
	assert.Equal(t, second, ids(t, raw), "a restart changes nothing")

	third := rotate(t, i, nil)
	assert.NotContains(t, third, first[0], "two rotations on, it is gone")
	_, err = jwt.Parse([]byte(old), jwt.WithKeySet(published(t, i)))
	require.Error(t, err)
}

func TestAnEmergencyReplacesAllKeys(t *testing.T) {
	t.Parallel()
	i := serve(t, Options{})
	known := append(ids(t, get(t, i.URL()+"/jwks")), rotate(t, i, nil)...)
	fresh := rotate(t, i, url.Values{"emergency": {"true"}})
	require.Len(t, fresh, 2)
	for _, id := range fresh {
		assert.NotContains(t, known, id)
	}
	text, err := i.Token("customer-1", "order:read")
	require.NoError(t, err)
	verify(t, i, text)
}

// Files of before there were several keys hold one.
func TestAKeyFileOfOneKeyIsRead(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "issuer.pem")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}), 0o600))
	i, err := New("http://127.0.0.1:7072", Options{KeyFile: file})
	require.NoError(t, err)
	text, err := i.Token("customer-1", "order:read")
	require.NoError(t, err)
	_, err = jwt.Parse([]byte(text), jwt.WithKey(jwa.RS256(), &key.PublicKey))
	require.NoError(t, err, "it is the one in use")
	assert.Equal(t, 2, published(t, i).Len())
}

func TestADamagedKeyFileIsNamed(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{
		"no PEM": "hello",
		"no key": "-----BEGIN RSA PRIVATE KEY-----\naGVsbG8=\n-----END RSA PRIVATE KEY-----\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "issuer.pem")
			require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
			_, err := New("http://127.0.0.1:7072", Options{KeyFile: file})
			require.ErrorContains(t, err, file)
			require.ErrorContains(t, err, "delete it")
		})
	}
}

func TestItExplainsItself(t *testing.T) {
	t.Parallel()
	i := serve(t, Options{})
	page := string(get(t, i.URL()+"/"))
	assert.Contains(t, page, "curl -s "+i.URL()+"/token")
	assert.Contains(t, page, "curl -s -X POST "+i.URL()+"/rotate")
}
