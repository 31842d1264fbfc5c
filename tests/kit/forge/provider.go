package forge

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Audience is the aud of a provider's tokens.
const Audience = "api://order-catalog"

// Provider is an OpenID provider. It answers while it is up, and counts who asks for its keys.
type Provider struct {
	URL   string // the iss of its tokens
	Calls atomic.Int64
	Down  atomic.Bool
	Hold  chan struct{} // when not nil, RoundTrip waits for it to be closed

	Self    string // what it calls itself, when not URL
	JWKSURI string // where it says its keys are, when not at /keys

	mu   sync.Mutex
	keys []Object
}

// Listen starts a provider that publishes RSA as "rsa" and EC as "ec". path is what its iss has after the address.
func Listen(t testing.TB, path string) *Provider {
	t.Helper()
	p := &Provider{}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	p.URL = server.URL + path
	p.Publish(RSAKey("rsa", RSA()), ECKey("ec", EC()))
	return p
}

// Publish changes its keys.
func (p *Provider) Publish(keys ...Object) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = append([]Object{}, keys...)
}

// ServeHTTP implements http.Handler.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.Down.Load():
		p.Calls.Add(1)
		w.WriteHeader(http.StatusInternalServerError)
	case strings.HasSuffix(r.URL.Path, "/.well-known/openid-configuration"):
		self, keys := p.Self, p.JWKSURI
		if self == "" {
			self = p.URL
		}
		if keys == "" {
			scheme, _, _ := strings.Cut(p.URL, ":")
			keys = scheme + "://" + r.Host + "/keys"
		}
		_ = json.NewEncoder(w).Encode(Object{"issuer": self, "jwks_uri": keys})
	case r.URL.Path == "/keys":
		p.Calls.Add(1)
		_ = json.NewEncoder(w).Encode(Object{"keys": p.keys})
	case r.URL.Path == "/away":
		http.Redirect(w, r, "http://issuer.example/keys", http.StatusFound)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// RoundTrip implements http.RoundTripper: the provider without a network, for tests that move the clock.
func (p *Provider) RoundTrip(r *http.Request) (*http.Response, error) {
	if p.Hold != nil {
		<-p.Hold
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w.Result(), nil
}

// Claims are good ones with changes; a nil value takes a claim away.
func (p *Provider) Claims(changes Object) Object {
	now := time.Now()
	return whole(With(Object{
		"iss": p.URL, "sub": "customer-1", "aud": Audience, "scp": "order:read order:write",
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(15 * time.Minute).Unix(),
	}, changes))
}

// Token is signed by RSA, or EC, as header alg says; header and claims are good ones with changes.
func (p *Provider) Token(header, claims Object) string {
	return Mint(whole(With(Object{"alg": "RS256", "typ": "JWT", "kid": "rsa"}, header)), p.Claims(claims), RSA())
}

// With is an object with changes. A nil stays one, to take the member away when a token is made.
func With(o, changes Object) Object {
	out := maps.Clone(o)
	maps.Copy(out, changes)
	return out
}

// whole drops what is nil.
func whole(o Object) Object {
	maps.DeleteFunc(o, func(_ string, v any) bool { return v == nil })
	return o
}
