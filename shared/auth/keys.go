package auth

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwk"
	"golang.org/x/sync/singleflight"
)

const (
	keysFresh   = 15 * time.Minute // older keys are fetched anew while the old ones go on being used
	keysPause   = 10 * time.Second // between fetches, however many unknown key ids are sprayed at us
	maxDocument = 1 << 20
)

// keySet holds an issuer's public keys. It fetches when first asked, never when made.
type keySet struct {
	issuer string
	client *http.Client
	flight singleflight.Group

	mu      sync.Mutex
	set     jwk.Set
	fetched time.Time // when set came
	tried   time.Time // when the last fetch ended
	failed  error     // how it ended
}

// key finds the key with id kid. An unknown id causes one fetch, at most every keysPause, and all who come while it
// runs wait for it: a key that has just been rolled over is many callers' key at once. Keys once fetched serve on
// while the issuer is down; an unknown one is then no verdict on the token.
func (k *keySet) key(ctx context.Context, kid string) (jwk.Key, error) {
	k.mu.Lock()
	set, age, since, failed := k.set, time.Since(k.fetched), time.Since(k.tried), k.failed
	k.mu.Unlock()

	if set != nil {
		if key, ok := set.LookupKeyID(kid); ok {
			if age > keysFresh && since > keysPause {
				k.refetch() // in the background: this caller has what it needs
			}
			return key, nil
		}
		if since <= keysPause && failed != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, failed)
		}
		if since <= keysPause {
			return nil, fmt.Errorf("%w: unknown key id", ErrInvalidToken)
		}
	}
	select {
	case res := <-k.refetch():
		if res.Err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, res.Err)
		}
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if key, ok := k.set.LookupKeyID(kid); ok {
		return key, nil
	}
	return nil, fmt.Errorf("%w: unknown key id", ErrInvalidToken)
}

// refetch asks the issuer once for all who wait. Who saw the pause over and comes when the next has begun gets the
// outcome of the fetch in between.
func (k *keySet) refetch() <-chan singleflight.Result {
	return k.flight.DoChan("", func() (_ any, err error) {
		defer func() {
			if p := recover(); p != nil { // singleflight would end the process with it
				err = fmt.Errorf("asking the issuer: panic: %v", p)
			}
		}()
		k.mu.Lock()
		recent, failed := k.set != nil && time.Since(k.tried) <= keysPause, k.failed
		k.mu.Unlock()
		if recent {
			return nil, failed
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		set, err := k.fetch(ctx)
		k.mu.Lock()
		defer k.mu.Unlock()
		k.tried, k.failed = time.Now(), err
		if err == nil {
			k.set, k.fetched = set, k.tried
		}
		return nil, err
	})
}

// fetch follows OpenID Connect Discovery 1.0, section 4: configuration document, then jwks_uri.
func (k *keySet) fetch(ctx context.Context) (jwk.Set, error) {
	var doc struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	raw, err := k.get(ctx, strings.TrimSuffix(k.issuer, "/")+"/.well-known/openid-configuration")
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
	set, err := jwk.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("reading the issuer's keys: %w", err)
	}
	return set, nil
}

func (k *keySet) get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("asking the issuer: %w", err)
	}
	res, err := k.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking the issuer: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("asking the issuer: %s answered %s", url, res.Status)
	}
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxDocument))
	if err != nil {
		return nil, fmt.Errorf("asking the issuer: %w", err)
	}
	return raw, nil
}
