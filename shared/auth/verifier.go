package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jws"
	"github.com/lestrrat-go/jwx/v3/jwt"
	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/singleflight"
)

const skew = time.Minute

// Config names the issuers that tokens may come from.
type Config struct {
	Issuers []Issuer
	Client  *http.Client
}

// Verifier checks bearer tokens. Verified ones are remembered by digest until they expire, so that a customer's
// second request costs a hash and not a signature.
type Verifier struct {
	issuers  map[string]*source   // by iss
	policies map[string][]*source // by iss, of B2C, where it has several
	keys     []*keySet
	names    map[string]bool // the issuers' names that are shown before their customers'
	verified *otter.Cache[[sha256.Size]byte, remembered]
}

// remembered is a verified token.
type remembered struct {
	identity Identity
	keys     *keySet
	removed  int64 // keys.removed when it was verified
}

// NewVerifier makes a verifier. It asks no issuer; the first token does.
func NewVerifier(config Config) (*Verifier, error) {
	list, err := sources(config.Issuers)
	if err != nil {
		return nil, fmt.Errorf("the issuers of tokens: %w", err)
	}
	verified, err := otter.New(&otter.Options[[sha256.Size]byte, remembered]{MaximumSize: 50_000})
	if err != nil {
		return nil, fmt.Errorf("making the token cache: %w", err)
	}
	v := &Verifier{
		issuers: map[string]*source{}, policies: map[string][]*source{}, names: map[string]bool{}, verified: verified,
	}
	for _, s := range list {
		if s.policy == "" {
			v.issuers[s.iss] = s
		} else {
			v.policies[s.iss] = append(v.policies[s.iss], s)
		}
		if s.name != "" {
			v.names[s.name] = true
		}
		if s.keys.client == nil { // else it is shared with the tenant before
			s.keys.client = config.Client
			v.keys = append(v.keys, s.keys)
		}
	}
	return v, nil
}

// Prime fetches the issuers' keys ahead of the first token. An issuer that is away doesn't keep the others'.
func (v *Verifier) Prime(ctx context.Context) error {
	flights := make([]<-chan singleflight.Result, len(v.keys)) // all at once
	for i, keys := range v.keys {
		flights[i] = keys.refetch()
	}
	var errs []error
	for _, flight := range flights {
		select {
		case res := <-flight:
			errs = append(errs, res.Err)
		case <-ctx.Done():
			errs = append(errs, ctx.Err())
		}
	}
	return errors.Join(errs...)
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
	if token == "" || strings.Contains(token, " ") || strings.Contains(token, ",") { // a kilobyte is looked through: ContainsAny takes its time
		return "", fmt.Errorf("%w: want Authorization: Bearer <token>", ErrBadRequest)
	}
	if r.URL.RawQuery != "" && r.URL.Query().Has("access_token") {
		return "", fmt.Errorf("%w: a token in the query as well", ErrBadRequest)
	}
	return token, nil
}

// CustomerKey is the Key of the customer that is shown as id (Identity.CustomerID).
func (v *Verifier) CustomerKey(id string) uuid.UUID {
	if issuer, subject, ok := strings.Cut(id, "|"); ok && v.names[issuer] {
		return KeyOf(issuer, subject)
	}
	return KeyOf("", id)
}

// Verify says who the bearer of token is. Errors are ErrInvalidToken or ErrUnavailable and never quote the token.
func (v *Verifier) Verify(ctx context.Context, token string) (Identity, error) {
	digest := sha256.Sum256([]byte(token))
	if known, ok := v.verified.GetIfPresent(digest); ok {
		now := time.Now()
		known.keys.freshen(now)
		if now.Before(known.identity.Expires) && known.removed == known.keys.removed.Load() {
			return known.identity, nil
		}
	}
	fresh, err := v.verify(ctx, token)
	if err != nil {
		return Identity{}, err
	}
	v.verified.Set(digest, fresh)
	return fresh.identity, nil
}

func (v *Verifier) verify(ctx context.Context, token string) (remembered, error) {
	t, err := parse(token)
	if err != nil {
		return remembered{}, err
	}
	s, err := v.source(t)
	if err != nil {
		return remembered{}, err
	}
	removed := s.keys.removed.Load() // before the key is looked for, or one that goes meanwhile would be missed
	if err := s.signed(ctx, t); err != nil {
		return remembered{}, err
	}
	identity, err := s.identity(t)
	if err != nil {
		return remembered{}, err
	}
	if v.CustomerKey(identity.CustomerID()) != identity.Key() {
		return remembered{}, fmt.Errorf("%w: its subject is written like another issuer's customer", ErrInvalidToken)
	}
	return remembered{identity, s.keys, removed}, nil
}

// source is whose token it says it is. Nobody is asked about an issuer that isn't ours.
func (v *Verifier) source(t *unverified) (*source, error) {
	iss, _ := t.claims.Issuer()
	if s, ok := v.issuers[iss]; ok {
		return s, nil
	}
	for _, s := range v.policies[iss] {
		if t.policy() == s.policy {
			return s, nil
		}
	}
	if v.policies[iss] != nil {
		return nil, fmt.Errorf("%w: wrong policy", ErrInvalidToken)
	}
	return nil, fmt.Errorf("%w: wrong issuer", ErrInvalidToken)
}

// signed checks the signature, by an algorithm and a key of the issuer's.
func (s *source) signed(ctx context.Context, t *unverified) error {
	if !s.accepts(t.alg) {
		return fmt.Errorf("%w: signature algorithm not accepted", ErrInvalidToken)
	}
	alg, ok := jwa.LookupSignatureAlgorithm(t.alg)
	if !ok {
		return fmt.Errorf("%w: signature algorithm not accepted", ErrInvalidToken)
	}
	key, err := s.keys.key(ctx, t.kid, t.alg)
	if err != nil {
		return err
	}
	if key.issuer != "" && strings.ReplaceAll(key.issuer, anyTenant, s.tenant) != s.iss {
		return fmt.Errorf("%w: its key is for another issuer's tokens", ErrInvalidToken)
	}
	if _, err := jws.Verify([]byte(t.text), jws.WithKey(alg, key.PublicKey)); err != nil {
		return fmt.Errorf("%w: signature or form is wrong", ErrInvalidToken)
	}
	return nil
}

func (s *source) accepts(alg string) bool {
	for _, a := range s.Algorithms {
		if a == alg {
			return true
		}
	}
	return false
}

// identity reads the claims of a token whose signature is good.
func (s *source) identity(t *unverified) (Identity, error) {
	audience, _ := t.claims.Audience()
	if !overlap(audience, s.Audiences) {
		return Identity{}, fmt.Errorf("%w: wrong audience", ErrInvalidToken)
	}
	err := jwt.Validate(t.claims, jwt.WithAcceptableSkew(skew), jwt.WithRequiredClaim(jwt.ExpirationKey))
	if err != nil {
		return Identity{}, fmt.Errorf("%w: %w", ErrInvalidToken, reason(err))
	}
	if tid := t.string("tid"); s.tenant != "" && tid != s.tenant && (s.Kind == KindEntra || t.claims.Has("tid")) {
		return Identity{}, fmt.Errorf("%w: wrong tenant", ErrInvalidToken)
	}
	id := Identity{Issuer: s.name, Subject: t.string(s.CustomerClaim), Client: t.client(), Roles: t.list("roles")}
	if id.Subject == "" || len(id.Subject) > 255 {
		return Identity{}, fmt.Errorf("%w: claim %s is missing or not a name", ErrInvalidToken, s.CustomerClaim)
	}
	control := func(r rune) bool { return r < ' ' || r == 0x7f }
	if strings.ContainsFunc(id.Subject, control) {
		return Identity{}, fmt.Errorf("%w: control characters in the subject", ErrInvalidToken)
	}
	if len(id.Client) > 255 || strings.ContainsFunc(id.Client, control) {
		return Identity{}, fmt.Errorf("%w: the client's id is not a name", ErrInvalidToken)
	}
	id.Expires, _ = t.claims.Expiration()
	if id.AppOnly, err = t.appOnly(s.Kind); err != nil {
		return Identity{}, err
	}
	switch {
	case id.AppOnly: // an application's permissions are app roles, named like the scopes
		id.Scopes = id.Roles
	case !t.claims.Has("scp"): // only of OpenID providers at large: others' users always have it
		id.Scopes = t.list("scope")
	default:
		id.Scopes = t.list("scp")
	}
	return id, nil
}

func overlap(a, b []string) bool {
	for _, x := range a {
		for _, y := range b {
			if x == y {
				return true
			}
		}
	}
	return false
}

// reason keeps of a library's error what a caller may know.
func reason(err error) error {
	switch {
	case errors.Is(err, jwt.TokenExpiredError()):
		return errors.New("expired")
	case errors.Is(err, jwt.TokenNotYetValidError()):
		return errors.New("not valid yet")
	case errors.Is(err, jwt.MissingRequiredClaimError()):
		return errors.New("exp is missing")
	default:
		return errors.New("its times are wrong")
	}
}
