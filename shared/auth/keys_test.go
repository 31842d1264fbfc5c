package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/tests/kit/forge"
)

// bubble is a provider without a network inside of a test whose clock can be moved.
func bubble(t *testing.T) (*forge.Provider, *Verifier) {
	t.Helper()
	p := &forge.Provider{URL: "https://issuer.example"}
	p.Publish(forge.RSAKey("rsa", forge.RSA()))
	return p, verifier(t, &http.Client{Transport: p}, issuerOf(p))
}

func TestJW08ManyCallersFetchOnce(t *testing.T) {
	t.Parallel()
	p, v := serve(t)
	assert.Zero(t, p.Calls.Load(), "making a verifier asks nobody")
	var wg sync.WaitGroup
	for i := range 20 {
		token := p.Token(nil, object{"sub": fmt.Sprint("customer-", i)})
		wg.Go(func() {
			_, err := v.Verify(t.Context(), token)
			assert.NoError(t, err)
		})
	}
	wg.Wait()
	assert.EqualValues(t, 1, p.Calls.Load())
}

func TestJW08UnknownKeyIDsCauseOneFetchInTenSeconds(t *testing.T) {
	t.Parallel()
	forge.RSA()
	synctest.Test(t, func(t *testing.T) {
		p, v := bubble(t)
		require.NoError(t, v.Prime(t.Context()))
		time.Sleep(keysPause + time.Second)
		for i := range 100 {
			time.Sleep(50 * time.Millisecond)
			_, err := v.Verify(t.Context(), p.Token(object{"kid": fmt.Sprint("spray-", i)}, nil))
			require.ErrorIs(t, err, ErrInvalidToken)
		}
		assert.EqualValues(t, 2, p.Calls.Load(), "the first and one for a hundred unknown ids")
		_, err := v.Verify(t.Context(), p.Token(nil, nil))
		require.NoError(t, err, "the known key serves meanwhile")
		time.Sleep(keysPause + time.Second)
		_, err = v.Verify(t.Context(), p.Token(object{"kid": "spray"}, nil))
		require.ErrorIs(t, err, ErrInvalidToken)
		assert.EqualValues(t, 3, p.Calls.Load(), "and one more in the next ten seconds")
	})
}

func TestJW08KeysServeOnWhileTheIssuerIsDown(t *testing.T) {
	t.Parallel()
	forge.RSA()
	synctest.Test(t, func(t *testing.T) {
		p, v := bubble(t)
		require.NoError(t, v.Prime(t.Context()))
		p.Down.Store(true)
		for range 5 {
			time.Sleep(keysFresh + time.Minute)
			_, err := v.Verify(t.Context(), p.Token(nil, nil))
			require.NoError(t, err, "old keys are better than none")
			synctest.Wait()
		}
		assert.EqualValues(t, 6, p.Calls.Load(), "each stale use has asked in the background")
		p.Down.Store(false)
		time.Sleep(time.Minute)
		_, err := v.Verify(t.Context(), p.Token(nil, nil))
		require.NoError(t, err)
		synctest.Wait()
		_, err = v.Verify(t.Context(), p.Token(nil, object{"sub": "other"}))
		require.NoError(t, err)
		synctest.Wait()
		assert.EqualValues(t, 7, p.Calls.Load(), "fresh again: nobody asks")
	})
}

// An issuer that never answered is our trouble, not the token's: the caller hears 503 and keeps the token.
func TestJW08NoKeysAtAllIsUnavailable(t *testing.T) {
	t.Parallel()
	forge.RSA()
	synctest.Test(t, func(t *testing.T) {
		p, v := bubble(t)
		p.Down.Store(true)
		require.Error(t, v.Prime(t.Context()))
		for range 100 {
			time.Sleep(5 * time.Millisecond)
			_, err := v.Verify(t.Context(), p.Token(nil, nil))
			require.ErrorIs(t, err, ErrUnavailable)
			require.NotErrorIs(t, err, ErrInvalidToken)
		}
		assert.EqualValues(t, 1, p.Calls.Load(), "an issuer in trouble is not made to suffer more")
		p.Down.Store(false)
		time.Sleep(keysRetry + time.Millisecond)
		_, err := v.Verify(t.Context(), p.Token(nil, nil))
		require.NoError(t, err, "and it comes back by itself")
	})
}

// A key signs with the algorithms of its kind and size, whatever a token says.
func TestJW02AKeyFitsItsAlgorithms(t *testing.T) {
	t.Parallel()
	curve := func(c elliptic.Curve) crypto.PublicKey {
		key, err := ecdsa.GenerateKey(c, rand.Reader)
		require.NoError(t, err)
		return &key.PublicKey
	}
	edwards, _, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	for fits, key := range map[string]crypto.PublicKey{
		"RS256 RS384 RS512 PS256 PS384 PS512": &forge.RSA().PublicKey,
		"ES256":                               curve(elliptic.P256()),
		"ES384":                               curve(elliptic.P384()),
		"ES512":                               curve(elliptic.P521()),
		"EdDSA":                               edwards,
		"":                                    []byte("a secret"),
	} {
		for _, alg := range knownAlgorithms {
			assert.Equal(t, slices.Contains(strings.Fields(fits), alg), publicKey{PublicKey: key}.fits(alg), "%T %s", key, alg)
		}
		assert.False(t, publicKey{PublicKey: key, alg: "RS1"}.fits("RS256"), "it is for another one")
	}
}

// The algorithms beside the usual ones, for who lists them.
func TestJW02AnIssuersOwnAlgorithms(t *testing.T) {
	t.Parallel()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	p := forge.Listen(t, "")
	p.Publish(object{"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": forge.Base64(public)}, forge.RSAKey("rsa", forge.RSA()))
	issuer := issuerOf(p)
	issuer.Algorithms = []string{"EdDSA", "RS512"}
	v := verifier(t, http.DefaultClient, issuer)
	input := forge.Base64([]byte(`{"alg":"EdDSA","kid":"ed"}`)) + "." + forge.Base64([]byte(forge.Text(p.Claims(nil))))
	_, err = v.Verify(t.Context(), input+"."+forge.Base64(ed25519.Sign(private, []byte(input))))
	require.NoError(t, err)
	_, err = v.Verify(t.Context(), p.Token(object{"alg": "RS512"}, nil))
	require.NoError(t, err)
	_, err = v.Verify(t.Context(), p.Token(nil, nil))
	require.ErrorContains(t, err, "algorithm not accepted")
}

// What an issuer publishes is believed only as far as it must be.
func TestJW08OnlyUsableKeysAreKept(t *testing.T) {
	t.Parallel()
	p, v := serve(t)
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	weak := forge.RSAKey("weak", short)
	enc := forge.RSAKey("enc", forge.RSA())
	enc["use"] = "enc"
	other := forge.RSAKey("rs512 only", forge.RSA())
	other["alg"] = "RS512"
	nameless := forge.RSAKey("", forge.RSA())
	delete(nameless, "kid")
	odd := object{"kty": "XYZ", "kid": "odd"}
	broken := object{"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"}
	shared := object{"kty": "oct", "kid": "oct", "k": forge.Base64([]byte("a secret of thirty-two bytes....")), "alg": "HS256"}
	p.Publish(weak, enc, other, nameless, odd, broken, shared, forge.RSAKey("rsa", forge.RSA()))
	_, err = v.Verify(t.Context(), p.Token(nil, nil))
	require.NoError(t, err, "one bad key is not the end of the others")
	for _, kid := range []string{"weak", "enc", "rs512 only", "odd", "broken", "oct"} {
		_, err := v.Verify(t.Context(), p.Token(object{"kid": kid}, nil))
		require.ErrorIs(t, err, ErrInvalidToken, kid)
		assert.ErrorContains(t, err, "unknown key id", kid)
	}
	assert.EqualValues(t, 1, p.Calls.Load())
}

func TestJW08AnswersOfTheIssuerAreBounded(t *testing.T) {
	t.Parallel()
	long := object{"kty": "RSA", "kid": strings.Repeat("x", maxDocument)}
	for name, c := range map[string]struct {
		change func(*forge.Provider)
		says   string
	}{
		"more than a mebibyte": {func(p *forge.Provider) { p.Publish(forge.RSAKey("rsa", forge.RSA()), long) }, "more than 1048576 bytes"},
		"no keys":              {func(p *forge.Provider) { p.Publish() }, "no key"},
		"no usable keys":       {func(p *forge.Provider) { p.Publish(object{"kty": "oct", "kid": "rsa", "k": "YQ"}) }, "no key"},
		"keys over plain http": {func(p *forge.Provider) { p.JWKSURI = "http://issuer.example/keys" }, "not https"},
		"keys in a file":       {func(p *forge.Provider) { p.JWKSURI = "file:///etc/passwd" }, "not https"},
		"no address of keys":   {func(p *forge.Provider) { p.JWKSURI = "/keys" }, "not https"},
		"keys elsewhere, over plain http, by a redirect": {func(p *forge.Provider) {
			p.JWKSURI = p.URL + "/away"
		}, "redirected"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, v := serve(t)
			c.change(p)
			_, err := v.Verify(t.Context(), p.Token(nil, nil))
			require.ErrorIs(t, err, ErrUnavailable)
			require.ErrorContains(t, err, c.says)
		})
	}
}

// JW-09: who verified a token by a key that its issuer has taken back can't go on by memory.
func TestJW09ARemovedKeyEndsWhatWasVerifiedByIt(t *testing.T) {
	t.Parallel()
	forge.RSA()
	forge.Stranger()
	synctest.Test(t, func(t *testing.T) {
		p, v := bubble(t)
		token := p.Token(nil, object{"exp": time.Now().Add(24 * time.Hour).Unix()})
		_, err := v.Verify(t.Context(), token)
		require.NoError(t, err)
		p.Publish(forge.RSAKey("new", forge.Stranger()))
		_, err = v.Verify(t.Context(), token)
		require.NoError(t, err, "nobody knows it yet")
		time.Sleep(keysFresh + time.Second)
		_, err = v.Verify(t.Context(), token)
		require.NoError(t, err, "the last one, which makes us look though the token is remembered")
		synctest.Wait()
		time.Sleep(keysPause + time.Second)
		_, err = v.Verify(t.Context(), token)
		require.ErrorIs(t, err, ErrInvalidToken)
		assert.ErrorContains(t, err, "unknown key id")
	})
}

// A key of the same name that is another key is not the one that was known.
func TestJW09AKeyThatChangedUnderItsNameIsARemovedOne(t *testing.T) {
	t.Parallel()
	forge.RSA()
	forge.Stranger()
	synctest.Test(t, func(t *testing.T) {
		p, v := bubble(t)
		token := p.Token(nil, object{"exp": time.Now().Add(24 * time.Hour).Unix()})
		_, err := v.Verify(t.Context(), token)
		require.NoError(t, err)
		p.Publish(forge.RSAKey("rsa", forge.Stranger()))
		time.Sleep(keysFresh + time.Second)
		_, _ = v.Verify(t.Context(), token)
		synctest.Wait()
		_, err = v.Verify(t.Context(), token)
		require.ErrorIs(t, err, ErrInvalidToken)
	})
}

func TestJW08AnIssuerOfAnotherNameIsNotBelieved(t *testing.T) {
	t.Parallel()
	p, v := serve(t)
	p.Self = "https://evil.example"
	_, err := v.Verify(t.Context(), p.Token(nil, nil))
	require.ErrorIs(t, err, ErrUnavailable)
	assert.ErrorContains(t, err, "calls itself")
}

type panics struct{}

func (panics) RoundTrip(*http.Request) (*http.Response, error) { panic("a library's mistake") }

// The fetch runs on a goroutine of its own, where a panic would take the process with it.
func TestAPanicWhileFetchingKeysEndsNothing(t *testing.T) {
	t.Parallel()
	p, v := serve(t)
	v.keys[0].client = &http.Client{Transport: panics{}}
	_, err := v.Verify(t.Context(), p.Token(nil, nil))
	require.ErrorIs(t, err, ErrUnavailable)
}

func TestJW09KeysRollOver(t *testing.T) {
	t.Parallel()
	forge.RSA()
	forge.Stranger()
	synctest.Test(t, func(t *testing.T) {
		p, v := bubble(t)
		old := func() string { return p.Token(nil, object{"jti": time.Now().String()}) }
		require.NoError(t, v.Prime(t.Context()))
		p.Publish(forge.RSAKey("rsa", forge.RSA()), forge.RSAKey("new", forge.Stranger()))
		time.Sleep(keysPause + time.Second)
		fresh := forge.Mint(object{"alg": "RS256", "kid": "new"}, p.Claims(nil), forge.Stranger())
		_, err := v.Verify(t.Context(), fresh)
		require.NoError(t, err, "a new key is found with one fetch")
		assert.EqualValues(t, 2, p.Calls.Load())

		p.Publish(forge.RSAKey("new", forge.Stranger()))
		_, err = v.Verify(t.Context(), old())
		require.NoError(t, err, "not yet known to be gone")
		time.Sleep(keysFresh + time.Second)
		_, err = v.Verify(t.Context(), old())
		require.NoError(t, err, "the last one, which makes us look")
		synctest.Wait()
		time.Sleep(time.Second)
		_, err = v.Verify(t.Context(), old())
		require.ErrorIs(t, err, ErrInvalidToken, "a removed key is refused")
	})
}

// Whoever comes while the new key is being fetched waits for it: he holds a good token.
func TestJW09ManyCallersMeetANewKey(t *testing.T) {
	t.Parallel()
	forge.RSA()
	forge.Stranger()
	synctest.Test(t, func(t *testing.T) {
		p, v := bubble(t)
		require.NoError(t, v.Prime(t.Context()))
		p.Publish(forge.RSAKey("rsa", forge.RSA()), forge.RSAKey("new", forge.Stranger()))
		time.Sleep(keysPause + time.Second)
		p.Hold = make(chan struct{})
		var (
			wg   sync.WaitGroup
			errs [5]error
		)
		for i := range errs {
			token := forge.Mint(object{"alg": "RS256", "kid": "new"}, p.Claims(object{"sub": fmt.Sprint("customer-", i)}), forge.Stranger())
			wg.Go(func() { _, errs[i] = v.Verify(t.Context(), token) })
			synctest.Wait() // each is where it waits before the next one comes
		}
		close(p.Hold)
		wg.Wait()
		for _, err := range errs {
			require.NoError(t, err)
		}
		assert.EqualValues(t, 2, p.Calls.Load(), "one fetch for all of them")
	})
}

// While the issuer is away nobody knows whether an unknown key is good: that is no verdict on the token.
func TestJW08UnknownKeyWhileTheIssuerIsDownIsUnavailable(t *testing.T) {
	t.Parallel()
	forge.RSA()
	forge.Stranger()
	synctest.Test(t, func(t *testing.T) {
		p, v := bubble(t)
		require.NoError(t, v.Prime(t.Context()))
		time.Sleep(keysPause + time.Second)
		p.Down.Store(true)
		token := forge.Mint(object{"alg": "RS256", "kid": "new"}, p.Claims(nil), forge.Stranger())
		for range 3 {
			_, err := v.Verify(t.Context(), token)
			require.ErrorIs(t, err, ErrUnavailable)
			require.NotErrorIs(t, err, ErrInvalidToken)
		}
		assert.EqualValues(t, 2, p.Calls.Load(), "the pause holds all the same")
		p.Publish(forge.RSAKey("new", forge.Stranger()))
		p.Down.Store(false)
		time.Sleep(keysPause + time.Second)
		_, err := v.Verify(t.Context(), token)
		require.NoError(t, err)
	})
}

// A verified token is remembered, so a repeat costs no signature, and only until it expires.
func TestJW07ARememberedTokenExpiresToo(t *testing.T) {
	t.Parallel()
	forge.RSA()
	synctest.Test(t, func(t *testing.T) {
		p, v := bubble(t)
		token := p.Token(nil, nil)
		first, err := v.Verify(t.Context(), token)
		require.NoError(t, err)
		again, err := v.Verify(t.Context(), token)
		require.NoError(t, err)
		assert.Equal(t, first, again)
		time.Sleep(15*time.Minute + skew - 2*time.Second)
		_, err = v.Verify(t.Context(), token)
		require.NoError(t, err, "within the leeway")
		time.Sleep(3 * time.Second)
		_, err = v.Verify(t.Context(), token)
		require.ErrorIs(t, err, ErrInvalidToken)
		assert.ErrorContains(t, err, "expired")
	})
}
