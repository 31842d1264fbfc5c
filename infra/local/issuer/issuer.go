// Package issuer is the token issuer of the local stack: OpenID Connect discovery, keys, and a token endpoint that
// believes whatever it is told. It exists so that the service never has a way to switch authentication off. The
// handler can't be built with it; a test sees to that.
//
// Read Serve, then endpoint.go (what it answers), grants.go (refresh tokens) and keys.go.
package issuer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/lestrrat-go/jwx/v3/jws"
	"github.com/lestrrat-go/jwx/v3/jwt"
)

// Audience is the aud of the tokens, unless Options say otherwise.
const Audience = "api://order-catalog-service"

const (
	accessLife  = 15 * time.Minute
	refreshLife = 24 * time.Hour
)

// Options change what an issuer does; the zero value is right for tests.
type Options struct {
	// KeyFile keeps the signing keys, so that tokens outlive a restart of the stack; "" makes some that are gone
	// with the issuer.
	KeyFile  string
	Audience string
}

// Issuer signs tokens for one address.
type Issuer struct {
	url, audience string
	keys          *keyRing
	grants        *grants
	now           func() time.Time
}

// New makes an issuer that is reached at url.
func New(url string, o Options) (*Issuer, error) {
	keys, err := openKeys(o.KeyFile)
	if err != nil {
		return nil, err
	}
	if o.Audience == "" {
		o.Audience = Audience
	}
	return &Issuer{url: url, audience: o.Audience, keys: keys, grants: newGrants(), now: time.Now}, nil
}

// Serve listens on addr and makes an issuer for it. stop ends it.
func Serve(addr string, o Options) (i *Issuer, stop func(), err error) {
	listener, err := net.Listen("tcp", addr) //nolint:noctx // ends with stop
	if err != nil {
		return nil, nil, fmt.Errorf("listening for tokens: %w", err)
	}
	if i, err = New("http://"+listener.Addr().String(), o); err != nil {
		return nil, nil, errors.Join(err, listener.Close())
	}
	server := &http.Server{Handler: i.Handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second}
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

// Token signs an access token without the endpoint.
func (i *Issuer) Token(sub, scope string, roles ...string) (string, error) {
	return i.sign(grant{sub: sub, scope: scope, roles: roles})
}

// Rotate has the issuer sign with its next key, or in an emergency with one that nobody has seen.
func (i *Issuer) Rotate(emergency bool) error { return i.keys.rotate(emergency) }

// sign makes an access token as RFC 9068 describes it, with Entra ID's names for scopes and roles.
func (i *Issuer) sign(g grant) (string, error) {
	now := i.now()
	b := jwt.NewBuilder().Issuer(i.url).Subject(g.sub).Audience([]string{i.audience}).
		IssuedAt(now).NotBefore(now).Expiration(now.Add(accessLife)).JwtID(rand.Text()).Claim("azp", "local")
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
	key := i.keys.current()
	signed, err := jwt.Sign(token, jwt.WithKey(algorithm(key), key, jws.WithProtectedHeaders(headers)))
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	return string(signed), nil
}
