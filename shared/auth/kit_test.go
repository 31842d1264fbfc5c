package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const audience = "api://order-catalog"

// The keys of the tests. Tokens and key documents are written by hand here, so that the library under test is not
// also the one that says what is right.
var (
	rsaKey   = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	otherKey = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	ecKey    = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

type object = map[string]any

func rsaJWK(kid string, key *rsa.PrivateKey) object {
	return object{"kty": "RSA", "kid": kid, "n": b64(key.N.Bytes()), "e": b64(big.NewInt(int64(key.E)).Bytes())}
}

func ecJWK(kid string, key *ecdsa.PrivateKey) object {
	point := must(key.PublicKey.Bytes()) // 0x04, x, y
	return object{"kty": "EC", "crv": "P-256", "kid": kid, "x": b64(point[1:33]), "y": b64(point[33:])}
}

// provider is an OpenID provider. It answers while it is up, and counts who asks for its keys.
type provider struct {
	url   string // the iss of its tokens
	calls atomic.Int64
	down  atomic.Bool
	hold  chan struct{} // when not nil, RoundTrip waits for it to be closed

	mu      sync.Mutex
	keys    []object
	self    string // what it calls itself, when not url
	jwksURI string // where it says its keys are, when not at /keys
}

func (p *provider) publish(keys ...object) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = keys
}

// ServeHTTP implements http.Handler.
func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.down.Load():
		p.calls.Add(1)
		w.WriteHeader(http.StatusInternalServerError)
	case strings.HasSuffix(r.URL.Path, "/.well-known/openid-configuration"):
		self, keys := p.self, p.jwksURI
		if self == "" {
			self = p.url
		}
		if keys == "" {
			scheme, _, _ := strings.Cut(p.url, ":")
			keys = scheme + "://" + r.Host + "/keys"
		}
		_ = json.NewEncoder(w).Encode(object{"issuer": self, "jwks_uri": keys})
	case r.URL.Path == "/keys":
		p.calls.Add(1)
		_ = json.NewEncoder(w).Encode(object{"keys": append([]object{}, p.keys...)})
	case r.URL.Path == "/away":
		http.Redirect(w, r, "http://issuer.example/keys", http.StatusFound)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// RoundTrip implements http.RoundTripper: the provider without a network, for tests that move the clock.
func (p *provider) RoundTrip(r *http.Request) (*http.Response, error) {
	if p.hold != nil {
		<-p.hold
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w.Result(), nil
}

// listen starts a provider with the two usual keys. path is what its iss has after the address.
func listen(t testing.TB, path string) *provider {
	t.Helper()
	p := &provider{}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	p.url = server.URL + path
	p.publish(rsaJWK("rsa", rsaKey()), ecJWK("ec", ecKey()))
	return p
}

// serve starts a provider and a verifier of its tokens.
func serve(t testing.TB) (*provider, *Verifier) {
	t.Helper()
	p := listen(t, "")
	return p, verifier(t, http.DefaultClient, p.issuer())
}

// issuer is the provider as a setting has it.
func (p *provider) issuer() Issuer { return Issuer{URL: p.url, Audiences: []string{audience}} }

func verifier(t testing.TB, client *http.Client, issuers ...Issuer) *Verifier {
	t.Helper()
	v, err := NewVerifier(Config{Issuers: issuers, Client: client})
	require.NoError(t, err)
	return v
}

// claims are good ones with changes; a nil value takes a claim away.
func (p *provider) claims(changes object) object {
	now := time.Now()
	c := object{
		"iss": p.url, "sub": "customer-1", "aud": audience, "scp": "order:read order:write",
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(15 * time.Minute).Unix(),
	}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// token is signed with the key that kid names, as header alg says.
func (p *provider) token(header, changes object) string {
	h := object{"alg": "RS256", "typ": "JWT", "kid": "rsa"}
	maps.Copy(h, header)
	maps.DeleteFunc(h, func(_ string, v any) bool { return v == nil })
	return mint(h, p.claims(changes), rsaKey())
}

func mint(header, claims object, key *rsa.PrivateKey) string {
	input := b64(must(json.Marshal(header))) + "." + b64(must(json.Marshal(claims)))
	sum := sha256.Sum256([]byte(input))
	var signature []byte
	switch header["alg"] {
	case "RS256":
		signature = must(rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:]))
	case "RS512":
		long := sha512.Sum512([]byte(input))
		signature = must(rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA512, long[:]))
	case "PS256":
		signature = must(rsa.SignPSS(rand.Reader, key, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}))
	case "ES256":
		r, s, err := ecdsa.Sign(rand.Reader, ecKey(), sum[:])
		must(0, err)
		signature = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	}
	return input + "." + b64(signature)
}

// mac signs with HMAC: what an attacker does with a public key that he takes for a secret.
func mac(header, claims object, secret []byte) string {
	input := b64(must(json.Marshal(header))) + "." + b64(must(json.Marshal(claims)))
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(input))
	return input + "." + b64(h.Sum(nil))
}

// text is a JSON document.
func text(v any) string { return string(must(json.Marshal(v))) }

// sign signs texts as they are, which no library would: header and payload, the payload's parts in front first.
func sign(header, payload string, before ...string) string {
	input := b64([]byte(header)) + "." + b64([]byte(strings.Join(before, "")+payload))
	sum := sha256.Sum256([]byte(input))
	return input + "." + b64(must(rsa.SignPKCS1v15(rand.Reader, rsaKey(), crypto.SHA256, sum[:])))
}

// loose writes base64url that decodes to the same bytes for who doesn't look at the bits after the last one.
func loose(part string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	if len(part)%4 == 0 {
		panic("no bits are left over")
	}
	last := strings.IndexByte(alphabet, part[len(part)-1])
	return part[:len(part)-1] + string(alphabet[last+1])
}
