package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwk"
	"golang.org/x/sync/singleflight"

	"github.com/company/order-catalog-service/shared/background"
	"github.com/company/order-catalog-service/shared/resilience/dependency"
)

const (
	keysFresh   = 15 * time.Minute // older keys are fetched anew while the old ones go on being used
	keysRetry   = time.Second      // the same while there are no keys at all: nobody can be let in until there are
	maxDocument = 1 << 20          // bytes of an answer; Entra's keys are 20 KiB
	maxKeys     = 100
)

// keysPause is between fetches, however many unknown key ids are sprayed at us.
var keysPause = dependency.Issuer.Pause

// publicKey is a key that signatures are checked with.
type publicKey struct {
	id     string
	alg    string // the one it is for, "" when its document doesn't say
	issuer string // whose tokens it signs, where one document serves many issuers; "" for all of them
	crypto.PublicKey
}

// fits tells whether the key is for signatures of an algorithm: an RSA key doesn't become one for ES256 because a token
// says so, nor a P-384 one for ES256.
func (k publicKey) fits(alg string) bool {
	if k.alg != "" && k.alg != alg {
		return false
	}
	switch key := k.PublicKey.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(alg, "RS") || strings.HasPrefix(alg, "PS")
	case *ecdsa.PublicKey:
		return alg == map[string]string{"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}[key.Curve.Params().Name]
	case ed25519.PublicKey:
		return alg == "EdDSA"
	}
	return false
}

// keySet holds the public keys that one configuration document leads to. It fetches when first asked, never when made.
type keySet struct {
	issuer    string // what the document must call itself
	discovery string // where it is
	client    *http.Client
	flight    singleflight.Group

	// due is when the keys are to be fetched anew (Unix nanoseconds), 0 before the first fetch.
	due atomic.Int64
	// removed counts the fetches that took a known key away: what was verified before is to be looked at again.
	removed atomic.Int64

	mu     sync.Mutex
	keys   []publicKey
	tried  time.Time // when the last fetch ended
	failed error     // how it ended
}

func newKeySet(issuer, discovery string) *keySet {
	return &keySet{issuer: issuer, discovery: discovery}
}

// find looks for a key among those at hand.
func (k *keySet) find(kid, alg string) (key publicKey, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, key := range k.keys {
		if key.id == kid && key.fits(alg) {
			return key, true
		}
	}
	return publicKey{}, false
}

// freshen has keys that have become old fetched in the background: who asks has what he needs.
func (k *keySet) freshen(now time.Time) {
	if due := k.due.Load(); due != 0 && now.UnixNano() >= due && k.due.CompareAndSwap(due, now.Add(keysPause).UnixNano()) {
		k.refetch()
	}
}

// key finds the key with id kid for signatures of alg. An unknown id causes one fetch, at most every keysPause, and all
// who come while it runs wait for it: a key that has just been rolled over is many callers' key at once. Keys once
// fetched serve on while the issuer is down; an unknown one is then no verdict on the token.
func (k *keySet) key(ctx context.Context, kid, alg string) (publicKey, error) {
	k.freshen(time.Now())
	if key, ok := k.find(kid, alg); ok {
		return key, nil
	}
	select {
	case res := <-k.refetch(): // asks nobody when it was asked lately
		if res.Err != nil {
			return publicKey{}, fmt.Errorf("%w: %w", ErrUnavailable, res.Err)
		}
	case <-ctx.Done():
		return publicKey{}, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
	if key, ok := k.find(kid, alg); ok {
		return key, nil
	}
	return publicKey{}, fmt.Errorf("%w: unknown key id", ErrInvalidToken)
}

// refetch asks the issuer once for all who wait. Who comes within the pause gets the outcome of the fetch before.
func (k *keySet) refetch() <-chan singleflight.Result {
	return k.flight.DoChan("", background.Catch("asking the issuer", func() (any, error) {
		k.mu.Lock()
		pause, since, failed := keysPause, time.Since(k.tried), k.failed
		if k.keys == nil {
			pause = keysRetry
		}
		asked := !k.tried.IsZero() && since <= pause
		k.mu.Unlock()
		if asked {
			return nil, failed
		}
		ctx, cancel := context.WithTimeout(context.Background(), dependency.Issuer.Call)
		defer cancel()
		keys, err := k.fetch(ctx)
		k.settle(keys, err)
		return nil, err
	}))
}

// settle keeps the outcome of a fetch.
func (k *keySet) settle(keys []publicKey, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tried, k.failed = time.Now(), err
	if err != nil {
		k.due.Store(k.tried.Add(keysPause).UnixNano())
		return
	}
	k.due.Store(k.tried.Add(keysFresh).UnixNano())
	had := k.keys
	k.keys = keys
	for _, old := range had {
		if !holds(keys, old) {
			k.removed.Add(1)
			return
		}
	}
}

func holds(keys []publicKey, one publicKey) bool {
	for _, key := range keys {
		same, ok := key.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
		if ok && key.id == one.id && same.Equal(one.PublicKey) {
			return true
		}
	}
	return false
}

// fetch follows OpenID Connect Discovery 1.0, section 4: configuration document, then jwks_uri.
func (k *keySet) fetch(ctx context.Context) ([]publicKey, error) {
	var doc struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	raw, err := k.get(ctx, k.discovery)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("reading the issuer's configuration: %w", err)
	}
	if doc.Issuer != k.issuer {
		return nil, fmt.Errorf("the issuer calls itself %q, we expect %q", doc.Issuer, k.issuer)
	}
	raw, err = k.get(ctx, doc.JWKSURI)
	if err != nil {
		return nil, err
	}
	set, err := jwk.Parse(raw, jwk.WithIgnoreParseError(true)) // a kind of key that we can't read is one that we don't need
	if err != nil {
		return nil, fmt.Errorf("reading the issuer's keys: %w", err)
	}
	var keys []publicKey
	for n := range min(set.Len(), maxKeys) {
		if key, ok := set.Key(n); ok {
			if public, ok := usable(key); ok {
				keys = append(keys, public)
			}
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("the issuer publishes no key that signatures can be checked with")
	}
	return keys, nil
}

// usable takes of a published key what it needs, and says no to one that signatures must not be checked with: a
// shared secret, a key for encryption, one without a name, or one too weak.
func usable(key jwk.Key) (publicKey, bool) {
	var out publicKey
	id, ok := key.KeyID()
	if use, has := key.KeyUsage(); !ok || id == "" || has && use != "sig" {
		return out, false
	}
	out.id = id
	if alg, ok := key.Algorithm(); ok {
		out.alg = alg.String()
	}
	if key.Has("issuer") && key.Get("issuer", &out.issuer) != nil {
		return out, false
	}
	public, err := jwk.PublicRawKeyOf(key)
	if err != nil {
		return out, false
	}
	switch public.(type) {
	case *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey: // the library has left out what is too weak or malformed
	default:
		return out, false
	}
	out.PublicKey = public
	return out, true
}

func (k *keySet) get(ctx context.Context, address string) ([]byte, error) {
	u, err := url.Parse(address)
	if err != nil || !safe(u) {
		return nil, errors.New("asking the issuer: it names an address that is not https")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("asking the issuer: %w", err)
	}
	req.Header.Set("Accept", "application/json")
	client := *k.client
	client.CheckRedirect = func(next *http.Request, way []*http.Request) error {
		if len(way) > 3 || !safe(next.URL) {
			return errors.New("redirected too often, or to an address that is not https")
		}
		return nil
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking the issuer: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("asking the issuer: %s answered %s", address, res.Status)
	}
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxDocument+1))
	if err != nil {
		return nil, fmt.Errorf("asking the issuer: %w", err)
	}
	if len(raw) > maxDocument {
		return nil, fmt.Errorf("asking the issuer: %s answered more than %d bytes", address, maxDocument)
	}
	return raw, nil
}
