// Package issuer is the token issuer of the local stack: OpenID Connect discovery, keys, and a token endpoint that
// believes whatever it is told. It exists so that the service never has a way to switch authentication off. The
// handler can't import it; a test sees to that.
package issuer

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"
	"github.com/lestrrat-go/jwx/v3/jwt"
)

const (
	accessLife  = 15 * time.Minute
	refreshLife = 24 * time.Hour
)

// Audience is the aud of the tokens.
const Audience = "api://order-catalog-service"

// Issuer signs tokens for one address.
type Issuer struct {
	url    string
	key    jwk.Key
	public jwk.Set

	mu      sync.Mutex
	refresh map[string]grant
}

// grant is what a token says and what its refresh token may be exchanged for.
type grant struct {
	sub, scope, email string
	roles             []string
	expires           time.Time
}

// New makes an issuer that is reached at url. Its key is kept in keyFile, so that tokens outlive a restart of the
// stack; "" makes a key of its own.
func New(url, keyFile string) (*Issuer, error) {
	private, err := loadKey(keyFile)
	if err != nil {
		return nil, err
	}
	key, err := jwk.Import(private)
	if err != nil {
		return nil, fmt.Errorf("importing the signing key: %w", err)
	}
	thumbprint := sha256.Sum256(private.N.Bytes())
	err = errors.Join(
		key.Set(jwk.KeyIDKey, hex.EncodeToString(thumbprint[:8])),
		key.Set(jwk.AlgorithmKey, jwa.RS256()),
		key.Set(jwk.KeyUsageKey, "sig"),
	)
	if err != nil {
		return nil, fmt.Errorf("naming the signing key: %w", err)
	}
	public, err := key.PublicKey()
	if err != nil {
		return nil, fmt.Errorf("deriving the public key: %w", err)
	}
	set := jwk.NewSet()
	if err := set.AddKey(public); err != nil {
		return nil, fmt.Errorf("publishing the key: %w", err)
	}
	return &Issuer{url: url, key: key, public: set, refresh: make(map[string]grant)}, nil
}

func loadKey(file string) (*rsa.PrivateKey, error) {
	if file != "" {
		raw, err := os.ReadFile(file) //nolint:gosec // named by our caller
		switch {
		case err == nil:
			block, _ := pem.Decode(raw)
			if block == nil {
				return nil, fmt.Errorf("%s holds no key: delete it and a new one is made", file)
			}
			key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("%s holds no key: delete it and a new one is made: %w", file, err)
			}
			return key, nil
		case !errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("reading the signing key: %w", err)
		}
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("making a signing key: %w", err)
	}
	if file == "" {
		return key, nil
	}
	raw := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, raw, 0o600)); err != nil { //nolint:gosec // the folder is no secret
		return nil, fmt.Errorf("keeping the signing key: %w", err)
	}
	return key, nil
}

// Serve listens on addr and makes an issuer for it. stop ends it.
func Serve(addr, keyFile string) (i *Issuer, stop func(), err error) {
	listener, err := net.Listen("tcp", addr) //nolint:noctx // ends with stop
	if err != nil {
		return nil, nil, fmt.Errorf("listening for tokens: %w", err)
	}
	if i, err = New("http://"+listener.Addr().String(), keyFile); err != nil {
		return nil, nil, errors.Join(err, listener.Close())
	}
	server := &http.Server{Handler: i.Handler(), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(listener) }() // returns when it is closed
	return i, func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = server.Shutdown(ctx)
		_ = server.Close()
	}, nil
}

// URL is the iss of its tokens.
func (i *Issuer) URL() string { return i.url }

// Handler serves discovery, keys and tokens.
func (i *Issuer) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, "Local token issuer. A token for a shell:\n\n  curl -s %s/token -d grant_type=client_credentials -d sub=customer-1 -d scope='order:read order:write'\n\nAdd -d roles=admin for app roles.\n", i.url)
	})
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{
			"issuer": i.url, "jwks_uri": i.url + "/jwks", "token_endpoint": i.url + "/token",
			"authorization_endpoint": i.url + "/authorize", "response_types_supported": []string{"token"},
			"subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"RS256"},
			"grant_types_supported": []string{"client_credentials", "refresh_token"},
		})
	})
	mux.HandleFunc("GET /jwks", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, i.public) })
	mux.HandleFunc("POST /token", i.token)
	return mux
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a client that left is nobody to tell
}

// refuse answers as RFC 6749, section 5.2.
func refuse(w http.ResponseWriter, code, description string) {
	answer(w, http.StatusBadRequest, map[string]string{"error": code, "error_description": description})
}

func (i *Issuer) token(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if err := r.ParseForm(); err != nil {
		refuse(w, "invalid_request", "send application/x-www-form-urlencoded")
		return
	}
	var g grant
	switch r.PostForm.Get("grant_type") {
	case "client_credentials":
		g = grant{
			sub: r.PostForm.Get("sub"), scope: r.PostForm.Get("scope"), email: r.PostForm.Get("email"),
			roles: strings.FieldsFunc(strings.Join(r.PostForm["roles"], " "), func(c rune) bool { return c == ' ' || c == ',' }),
		}
		if g.sub == "" {
			refuse(w, "invalid_request", "sub is missing: who is the token for?")
			return
		}
	case "refresh_token":
		var ok bool
		if g, ok = i.redeem(r.PostForm.Get("refresh_token")); !ok {
			refuse(w, "invalid_grant", "the refresh token is unknown, used or expired")
			return
		}
	default:
		refuse(w, "unsupported_grant_type", "grant_type is client_credentials or refresh_token")
		return
	}
	access, err := i.sign(g, accessLife)
	if err != nil {
		answer(w, http.StatusInternalServerError, map[string]string{"error": "server_error", "error_description": err.Error()})
		return
	}
	answer(w, http.StatusOK, map[string]any{
		"access_token": access, "token_type": "Bearer", "expires_in": int(accessLife.Seconds()), "refresh_token": i.remember(g),
	})
}

// redeem takes a refresh token out of use and returns its grant.
func (i *Issuer) redeem(token string) (grant, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	g, ok := i.refresh[token]
	delete(i.refresh, token)
	return g, ok && time.Now().Before(g.expires)
}

func (i *Issuer) remember(g grant) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := time.Now()
	for token, old := range i.refresh {
		if now.After(old.expires) {
			delete(i.refresh, token)
		}
	}
	token := random()
	g.expires = now.Add(refreshLife)
	i.refresh[token] = g
	return token
}

func random() string {
	var b [24]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand aborts the program rather than return an error
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// Token signs an access token; tests use it without the endpoint.
func (i *Issuer) Token(sub, scope string, roles ...string) (string, error) {
	return i.sign(grant{sub: sub, scope: scope, roles: roles}, accessLife)
}

func (i *Issuer) sign(g grant, life time.Duration) (string, error) {
	now := time.Now()
	b := jwt.NewBuilder().Issuer(i.url).Subject(g.sub).Audience([]string{Audience}).
		IssuedAt(now).NotBefore(now).Expiration(now.Add(life)).JwtID(random()).Claim("azp", "local")
	if g.scope != "" {
		b = b.Claim("scp", g.scope)
	}
	if len(g.roles) > 0 {
		b = b.Claim("roles", g.roles)
	}
	if g.email != "" {
		b = b.Claim("email", g.email)
	}
	token, err := b.Build()
	if err != nil {
		return "", fmt.Errorf("making a token: %w", err)
	}
	headers := jws.NewHeaders()
	if err := headers.Set(jws.TypeKey, "at+jwt"); err != nil {
		return "", fmt.Errorf("making a token: %w", err)
	}
	signed, err := jwt.Sign(token, jwt.WithKey(jwa.RS256(), i.key, jws.WithProtectedHeaders(headers)))
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	return string(signed), nil
}
