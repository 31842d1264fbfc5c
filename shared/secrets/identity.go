package secrets

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/company/order-catalog-service/shared/resilience/dependency"
)

// What tokens are for.
const (
	ScopePostgreSQL = "https://ossrdbms-aad.database.windows.net/.default"
	ScopeRedis      = "https://redis.azure.com/.default"
)

// Identity is what Azure lets this process be: the user-assigned identity with that client id, the system-assigned one
// for "". It asks nobody yet.
func Identity(clientID string) (azcore.TokenCredential, error) {
	options := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: azcore.ClientOptions{Retry: retries()}}
	if clientID != "" {
		options.ID = azidentity.ClientID(clientID)
	}
	credential, err := azidentity.NewManagedIdentityCredential(options)
	if err != nil {
		return nil, fmt.Errorf("the managed identity: %w", oneLine(err))
	}
	return credential, nil
}

// Tokens are the tokens of one identity for one service, renewed ahead of their end.
type Tokens struct {
	credential azcore.TokenCredential
	scope      string
	logger     *slog.Logger
	asking     chan struct{} // who fetches one

	mu        sync.Mutex
	token     azcore.AccessToken
	failure   error // of the last try
	failed    time.Time
	listeners []func()
}

// NewTokens makes the source of tokens for a scope.
func NewTokens(credential azcore.TokenCredential, scope string, logger *slog.Logger) *Tokens {
	return &Tokens{credential: credential, scope: scope, logger: logger, asking: make(chan struct{}, 1)}
}

// spare is how much of its life a token must have left to be given out: a login that begins with it must not end
// without it.
const spare = 30 * time.Second

// Get is a token that is valid for a while. While the identity can't be asked, the last one is given out to its end.
func (t *Tokens) Get(ctx context.Context) (string, error) {
	if token, ok := t.valid(spare); ok {
		return token, nil
	}
	err := t.renew(ctx, false)
	if token, ok := t.valid(0); ok { // the new one, or the last one to its end
		return token, nil
	}
	return "", err
}

// valid is the token, if it is so for longer than least.
func (t *Tokens) valid(least time.Duration) (string, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.token.Token, time.Until(t.token.ExpiresOn) > least
}

// renew fetches a token. One at a time does, and nobody who has a token waits for it: mu is never held meanwhile. Unless it
// is forced to, it leaves it at what another one has just got, or failed to get.
func (t *Tokens) renew(ctx context.Context, force bool) error {
	select {
	case t.asking <- struct{}{}:
		defer func() { <-t.asking }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if !force {
		if _, ok := t.valid(spare); ok {
			return nil
		}
		t.mu.Lock()
		err, recent := t.failure, time.Since(t.failed) <= time.Second
		t.mu.Unlock()
		if err != nil && recent {
			return err
		}
	}
	token, err := t.fetch(ctx)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failure, t.failed = err, time.Now(); err == nil {
		t.token = token
	}
	return err
}

func (t *Tokens) fetch(ctx context.Context) (azcore.AccessToken, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*dependency.KeyVault.Call)
	defer cancel()
	token, err := t.credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{t.scope}})
	if err == nil {
		return token, nil
	}
	var failed *azidentity.AuthenticationFailedError
	if errors.As(err, &failed) && failed.RawResponse != nil {
		return azcore.AccessToken{}, fmt.Errorf("no token for %s: %w: %s", t.scope, refusedBy(failed.RawResponse.StatusCode), identityAdvice(failed.RawResponse))
	}
	return azcore.AccessToken{}, fmt.Errorf("no token for %s: %w", t.scope, oneLine(err))
}

// OnChange has f called after each new token that Run fetched. f must not wait for long.
func (t *Tokens) OnChange(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.listeners = append(t.listeners, f)
}

// Run renews the token ahead of its end until ctx ends, so that nobody waits for one. A failure costs a warning as
// long as the last token is valid.
func (t *Tokens) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(t.pause()):
		}
		before, _ := t.valid(0)
		err := t.renew(ctx, true)
		t.mu.Lock()
		changed, left := t.token.Token != before, time.Until(t.token.ExpiresOn)
		listeners := t.listeners
		t.mu.Unlock()
		if err != nil && ctx.Err() == nil {
			t.logger.WarnContext(ctx, "a token could not be renewed: the last one stays until its end", "left", left.Round(time.Second).String(), "error", err)
		}
		if changed {
			for _, f := range listeners {
				f()
			}
		}
	}
}

// The library keeps tokens too and asks for a new one only when the service says so or in the last five minutes.
const lastMinutes = 5 * time.Minute

// pause is how long until the token is to be renewed.
func (t *Tokens) pause() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	left := time.Until(t.token.ExpiresOn)
	const retry = 10 * time.Second
	switch {
	case left <= 0: // none yet, or the renewal failed
		return retry
	case time.Until(t.token.RefreshOn) > retry:
		return time.Until(t.token.RefreshOn) + rand.N(retry) //nolint:gosec // spreads load, hides nothing
	case left > lastMinutes+retry:
		return left - lastMinutes + rand.N(retry) //nolint:gosec // as above
	default:
		return max(min(left/2, 30*time.Second), 50*time.Millisecond)
	}
}

// ObjectID is the claim oid of a token: the name under which an identity logs in to Redis. The token is not verified,
// as it is ours.
func ObjectID(token string) (string, error) {
	parts := strings.Split(token, ".")
	var claims struct{ OID string }
	if len(parts) == 3 {
		if body, err := base64.RawURLEncoding.DecodeString(parts[1]); err == nil {
			_ = json.Unmarshal(body, &claims) // leaves it empty
		}
	}
	if claims.OID == "" {
		return "", errors.New("the identity's token names no oid")
	}
	return claims.OID, nil
}

// identityAdvice is what the identity's endpoint said, and what that usually means.
func identityAdvice(res *http.Response) string {
	text := "the identity endpoint refuses" + said(res)
	if res.StatusCode == http.StatusBadRequest {
		text += "; is the identity with AZURE_CLIENT_ID assigned to this app?"
	}
	return text
}
