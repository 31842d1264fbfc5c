package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jws"
	"github.com/lestrrat-go/jwx/v3/jwt"
	"github.com/maypok86/otter/v2"
)

const (
	maxToken = 8 << 10 // bytes; real ones are below 3 KiB
	skew     = time.Minute
)

// Config names the one issuer that tokens must come from.
type Config struct {
	Issuer   string // exact value of iss; the provider is discovered below it
	Audience string // a value of aud
	// CustomerClaim is the claim that names the customer: oid for Entra ID, else sub.
	CustomerClaim string
	Client        *http.Client
}

// Verifier checks bearer tokens. Verified ones are remembered by digest until they expire, so that a customer's
// second request costs a hash and not a signature.
type Verifier struct {
	config   Config
	keys     *keySet
	verified *otter.Cache[[sha256.Size]byte, Identity]
}

// NewVerifier makes a verifier. It does not ask the issuer; the first token does.
func NewVerifier(config Config) (*Verifier, error) {
	verified, err := otter.New(&otter.Options[[sha256.Size]byte, Identity]{MaximumSize: 50_000})
	if err != nil {
		return nil, fmt.Errorf("making the token cache: %w", err)
	}
	return &Verifier{
		config:   config,
		keys:     &keySet{issuer: config.Issuer, client: config.Client},
		verified: verified,
	}, nil
}

// Prime fetches the issuer's keys ahead of the first token.
func (v *Verifier) Prime(ctx context.Context) error {
	select {
	case res := <-v.keys.refetch():
		return res.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Bearer takes the token out of a request: exactly one Authorization header of the Bearer scheme (RFC 6750,
// section 2.1). A token in a query or a form is none; beside one in the header it is two methods at once (section 2).
func Bearer(r *http.Request) (string, error) {
	values := r.Header.Values("Authorization")
	if len(values) == 0 {
		return "", ErrNoToken
	}
	if len(values) > 1 {
		return "", fmt.Errorf("%w: more than one Authorization header", ErrBadRequest)
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", ErrNoToken
	}
	token = strings.TrimSpace(token)
	if token == "" || strings.ContainsAny(token, " ,") {
		return "", fmt.Errorf("%w: want Authorization: Bearer <token>", ErrBadRequest)
	}
	if r.URL.RawQuery != "" && r.URL.Query().Has("access_token") {
		return "", fmt.Errorf("%w: a token in the query as well", ErrBadRequest)
	}
	return token, nil
}

// Verify says who the bearer of token is. Errors are ErrInvalidToken or ErrUnavailable and never quote the token.
func (v *Verifier) Verify(ctx context.Context, token string) (Identity, error) {
	digest := sha256.Sum256([]byte(token))
	if id, ok := v.verified.GetIfPresent(digest); ok && time.Now().Before(id.Expires) {
		return id, nil
	}
	id, err := v.verify(ctx, token)
	if err != nil {
		return Identity{}, err
	}
	v.verified.Set(digest, id)
	return id, nil
}

func (v *Verifier) verify(ctx context.Context, token string) (Identity, error) {
	if len(token) > maxToken {
		return Identity{}, fmt.Errorf("%w: longer than %d bytes", ErrInvalidToken, maxToken)
	}
	alg, kid, err := header(token)
	if err != nil {
		return Identity{}, err
	}
	key, err := v.keys.key(ctx, kid)
	if err != nil {
		return Identity{}, err
	}
	parsed, err := jwt.Parse([]byte(token),
		jwt.WithKey(alg, key),
		jwt.WithValidate(true),
		jwt.WithAcceptableSkew(skew),
		jwt.WithIssuer(v.config.Issuer),
		jwt.WithAudience(v.config.Audience),
		jwt.WithRequiredClaim(jwt.ExpirationKey),
	)
	if err != nil {
		return Identity{}, fmt.Errorf("%w: %w", ErrInvalidToken, reason(err))
	}
	return v.identity(parsed)
}

// header reads what a token says about its own signature, and refuses all that would let it choose how it is
// checked (RFC 8725, sections 3.1 and 3.10).
func header(token string) (jwa.SignatureAlgorithm, string, error) {
	none := jwa.NoSignature()
	msg, err := jws.Parse([]byte(token), jws.WithCompact())
	if err != nil || len(msg.Signatures()) != 1 {
		return none, "", fmt.Errorf("%w: not a signed JWT", ErrInvalidToken)
	}
	h := msg.Signatures()[0].ProtectedHeaders()
	alg, _ := h.Algorithm()
	switch alg {
	case jwa.RS256(), jwa.PS256(), jwa.ES256():
	default:
		return none, "", fmt.Errorf("%w: signature algorithm not accepted", ErrInvalidToken)
	}
	for _, name := range []string{jws.JWKKey, jws.JWKSetURLKey, jws.X509URLKey, jws.X509CertChainKey, jws.CriticalKey} {
		if h.Has(name) {
			return none, "", fmt.Errorf("%w: header %s not accepted", ErrInvalidToken, name)
		}
	}
	if typ, ok := h.Type(); ok && !strings.EqualFold(typ, "JWT") && !strings.EqualFold(typ, "at+jwt") &&
		!strings.EqualFold(typ, "application/at+jwt") {
		return none, "", fmt.Errorf("%w: typ is not JWT or at+jwt", ErrInvalidToken)
	}
	kid, ok := h.KeyID()
	if !ok || kid == "" {
		return none, "", fmt.Errorf("%w: no key id", ErrInvalidToken)
	}
	return alg, kid, nil
}

// identity reads the claims. Delegated tokens carry scp; app-only tokens carry none, and their app roles that
// are named like scopes count as scopes.
func (v *Verifier) identity(token jwt.Token) (Identity, error) {
	var id Identity
	if err := token.Get(v.config.CustomerClaim, &id.Subject); err != nil || id.Subject == "" || len(id.Subject) > 255 {
		return Identity{}, fmt.Errorf("%w: claim %s is missing or not a name", ErrInvalidToken, v.config.CustomerClaim)
	}
	if err := noControls(id.Subject); err != nil {
		return Identity{}, err
	}
	id.Expires, _ = token.Expiration()
	id.Roles = list(token, "roles")
	if token.Has("scp") {
		id.Scopes = list(token, "scp")
	} else {
		id.Scopes = id.Roles
	}
	return id, nil
}

// list reads a claim that is an array of strings or one string with spaces.
func list(token jwt.Token, claim string) []string {
	var raw any
	if err := token.Get(claim, &raw); err != nil {
		return nil
	}
	switch raw := raw.(type) {
	case string:
		return strings.Fields(raw)
	case []any:
		var out []string
		for _, item := range raw {
			if s, ok := item.(string); ok {
				out = append(out, s)
			}
		}
		return out
	}
	return nil
}

func noControls(s string) error {
	for _, r := range s {
		if r < ' ' || r == 0x7f {
			return fmt.Errorf("%w: control characters in the subject", ErrInvalidToken)
		}
	}
	return nil
}

// reason keeps of a library's error what a caller may know.
func reason(err error) error {
	switch {
	case errors.Is(err, jwt.TokenExpiredError()):
		return errors.New("expired")
	case errors.Is(err, jwt.TokenNotYetValidError()):
		return errors.New("not valid yet")
	case errors.Is(err, jwt.InvalidIssuerError()):
		return errors.New("wrong issuer")
	case errors.Is(err, jwt.InvalidAudienceError()):
		return errors.New("wrong audience")
	case errors.Is(err, jwt.MissingRequiredClaimError()):
		return errors.New("exp is missing")
	default:
		return errors.New("signature or form is wrong")
	}
}
