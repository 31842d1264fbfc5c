package signature

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const msgID = "msg_p5jXN8AQM9LWM0D4loKWxJek"

var (
	body = []byte(`{"test": 2432232314}`)
	sent = time.Unix(1614265330, 0)
)

func parse(t *testing.T, text string) Key {
	t.Helper()
	k, err := ParseKey(text)
	require.NoError(t, err)
	return k
}

func signed(t *testing.T, keys ...Key) http.Header {
	t.Helper()
	h := http.Header{}
	require.NoError(t, Sign(h, msgID, sent, body, keys...))
	return h
}

// TestWH01Vectors are the vectors that the published libraries test themselves with.
func TestWH01Vectors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ key, want string }{
		"hmac": {
			"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
			"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
		},
		"ed25519": {
			"whsk_VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk=",
			"v1a,tQ9V2XOqn7jL/DQenEFpqIugdBVtiMmER5mhSkXBNwM0mkATuDe6KYYUuxqtaiHeYGb7KaaBRdM5WqyeFiL8Ag==",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key := parse(t, c.key)
			h := signed(t, key)
			assert.Equal(t, http.Header{
				"Webhook-Id": {msgID}, "Webhook-Timestamp": {"1614265330"}, "Webhook-Signature": {c.want},
			}, h)
			require.NoError(t, Verify(h, body, sent, key))
			if public, ok := key.PublicKey(); ok {
				require.NoError(t, Verify(h, body, sent, public))
			}
		})
	}
}

// TestWH02Keys: what we make is what we read, in the sizes of the standard.
func TestWH02Keys(t *testing.T) {
	t.Parallel()
	secret := NewSecret()
	raw, ok := strings.CutPrefix(secret.Text(), "whsec_")
	require.True(t, ok)
	decoded, err := base64.StdEncoding.DecodeString(raw)
	require.NoError(t, err)
	assert.Len(t, decoded, 32)
	assert.NotEqual(t, secret, NewSecret())
	assert.Equal(t, secret, parse(t, secret.Text()))
	_, ok = secret.PublicKey()
	assert.False(t, ok, "a shared secret has no part to show")

	private := NewEd25519()
	assert.NotEqual(t, private, NewEd25519())
	assert.Equal(t, private, parse(t, private.Text()))
	long := "whsk_" + base64.StdEncoding.EncodeToString(private.private)
	assert.Equal(t, private, parse(t, long), "seed and public key together, as some tools write it")
	public, ok := private.PublicKey()
	require.True(t, ok)
	assert.Equal(t, public, parse(t, public.Text()))
	assert.True(t, strings.HasPrefix(public.Text(), "whpk_"))
	assert.Empty(t, Key{}.Text())
}

func TestWH02BadKeys(t *testing.T) {
	t.Parallel()
	of := func(prefix string, n int) string {
		return prefix + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", n)))
	}
	for text, says := range map[string]string{
		"":                              "begins with",
		"secret":                        "begins with",
		of("whdoor_", 32):               "begins with",
		"whsec_" + "not base64 at all!": "base64",
		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSx-_": "base64", // the URL alphabet
		of("whsec_", 23): "24 to 64 bytes, this one 23",
		of("whsec_", 65): "24 to 64 bytes, this one 65",
		of("whsk_", 31):  "32 or 64 bytes, this one 31",
		of("whsk_", 64):  "public key of its first",
		of("whpk_", 33):  "32 bytes, this one 33",
	} {
		_, err := ParseKey(text)
		if assert.ErrorContains(t, err, says, text) && len(text) > len("whsec_") {
			assert.NotContains(t, err.Error(), text[6:], "the error would put the secret into the log")
		}
	}
	for _, text := range []string{of("whsec_", 24), of("whsec_", 64)} {
		_, err := ParseKey(text)
		assert.NoError(t, err)
	}
}

// TestWH04Rotation: while the overlap lasts, a receiver with either key verifies the one delivery; afterwards the
// old key is worth nothing.
func TestWH04Rotation(t *testing.T) {
	t.Parallel()
	former, current, asymmetric := NewSecret(), NewSecret(), NewEd25519()
	public, _ := asymmetric.PublicKey()

	overlap := signed(t, current, former, asymmetric)
	assert.Len(t, strings.Split(overlap.Get(HeaderSignature), " "), 3)
	for _, key := range []Key{former, current, asymmetric, public} {
		require.NoError(t, Verify(overlap, body, sent, key), "%s", key)
	}
	require.NoError(t, Verify(overlap, body, sent, NewSecret(), former), "a receiver may hold keys of others too")

	after := signed(t, current)
	require.NoError(t, Verify(after, body, sent, current))
	require.ErrorIs(t, Verify(after, body, sent, former), ErrNoMatch)
}

func TestVerifyRefuses(t *testing.T) {
	t.Parallel()
	secret, private := NewSecret(), NewEd25519()
	public, _ := private.PublicKey()
	both := []Key{secret, public}
	change := func(name, value string) func(http.Header) { return func(h http.Header) { h.Set(name, value) } }
	for name, c := range map[string]struct {
		header func(http.Header)
		body   string
		keys   []Key
		want   error
	}{
		"another body":      {body: `{"test":2432232314}`, keys: both, want: ErrNoMatch},
		"another id":        {header: change(HeaderID, "msg_other"), keys: both, want: ErrNoMatch},
		"another time":      {header: change(HeaderTimestamp, "1614265331"), keys: both, want: ErrNoMatch},
		"another secret":    {keys: []Key{NewSecret()}, want: ErrNoMatch},
		"no key":            {want: ErrNoMatch},
		"an empty key":      {header: change(HeaderSignature, ","), keys: []Key{{}}, want: ErrNoMatch},
		"no id":             {header: func(h http.Header) { h.Del(HeaderID) }, keys: both, want: ErrMissingHeader},
		"no time":           {header: func(h http.Header) { h.Del(HeaderTimestamp) }, keys: both, want: ErrMissingHeader},
		"no signature":      {header: func(h http.Header) { h.Del(HeaderSignature) }, keys: both, want: ErrMissingHeader},
		"two ids":           {header: func(h http.Header) { h.Add(HeaderID, "msg_other") }, keys: both, want: ErrMissingHeader},
		"two times":         {header: func(h http.Header) { h.Add(HeaderTimestamp, "1") }, keys: both, want: ErrMissingHeader},
		"a time with plus":  {header: change(HeaderTimestamp, "+1614265330"), keys: both, want: ErrMissingHeader},
		"a time with zero":  {header: change(HeaderTimestamp, "01614265330"), keys: both, want: ErrMissingHeader},
		"a time in words":   {header: change(HeaderTimestamp, "now"), keys: both, want: ErrMissingHeader},
		"dotted id":         {header: change(HeaderID, "msg.1614265330"), keys: both, want: ErrMissingHeader},
		"empty signature":   {header: change(HeaderSignature, "v1, v1a,"), keys: both, want: ErrNoMatch},
		"a year from now":   {header: change(HeaderTimestamp, "9223372036854775807"), keys: both, want: ErrTooNew},
		"before all time":   {header: change(HeaderTimestamp, "-62135596801"), keys: both, want: ErrTooOld},
		"version swapped":   {header: swapVersions, keys: both, want: ErrNoMatch},
		"signature cut off": {header: func(h http.Header) { h.Set(HeaderSignature, h.Get(HeaderSignature)[:20]) }, keys: both, want: ErrNoMatch},
		"behind a flood": {
			header: func(h http.Header) {
				h.Set(HeaderSignature, strings.Repeat("v1a,AAAA ", maxSignatures)+h.Get(HeaderSignature))
			},
			keys: both, want: ErrNoMatch,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := signed(t, secret, private)
			require.NoError(t, Verify(h, body, sent, both...), "what is changed below")
			if c.header != nil {
				c.header(h)
			}
			got := body
			if c.body != "" {
				got = []byte(c.body)
			}
			assert.ErrorIs(t, Verify(h, got, sent, c.keys...), c.want)
		})
	}
}

// swapVersions gives each signature out as one of the other kind.
func swapVersions(h http.Header) {
	h.Set(HeaderSignature, strings.NewReplacer("v1,", "v1a,", "v1a,", "v1,").Replace(h.Get(HeaderSignature)))
}

// TestSignaturesOfOtherVersionsArePassedOver: what the standard adds later must not break today's receivers.
func TestSignaturesOfOtherVersionsArePassedOver(t *testing.T) {
	t.Parallel()
	key := NewSecret()
	h := signed(t, key)
	h.Set(HeaderSignature, "v2,!!! v1 v1,AAAA  v1a,BBBB "+h.Get(HeaderSignature)+" v3")
	require.NoError(t, Verify(h, body, sent, key))
}

func TestTolerance(t *testing.T) {
	t.Parallel()
	key := NewSecret()
	h := signed(t, key)
	for after, want := range map[time.Duration]error{
		0: nil, Tolerance: nil, -Tolerance: nil,
		Tolerance + time.Second:    ErrTooOld,
		-(Tolerance + time.Second): ErrTooNew,
	} {
		assert.ErrorIs(t, Verify(h, body, sent.Add(after), key), want, after)
	}
	late := sent.Add(7 * time.Hour)
	require.NoError(t, Sign(h, msgID, late, body, key), "WH-03: a later attempt has the same id and its own time")
	assert.Equal(t, strconv.FormatInt(late.Unix(), 10), h.Get(HeaderTimestamp))
	require.NoError(t, Verify(h, body, late, key), "and replaces the three headers")
}

func TestSignRefuses(t *testing.T) {
	t.Parallel()
	private := NewEd25519()
	public, _ := private.PublicKey()
	for name, c := range map[string]struct {
		id   string
		keys []Key
		says string
	}{
		"no id":          {"", []Key{private}, "the id must be"},
		"a dot":          {"a.b", []Key{private}, "the id must be"},
		"a line":         {"a\r\nb", []Key{private}, "the id must be"},
		"a long id":      {strings.Repeat("i", 256), []Key{private}, "the id must be"},
		"no key":         {"a", nil, "no key"},
		"an empty key":   {"a", []Key{{}}, "empty"},
		"a public key":   {"a", []Key{public}, "only verifies"},
		"one bad of two": {"a", []Key{private, public}, "only verifies"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := http.Header{}
			require.ErrorContains(t, Sign(h, c.id, sent, body, c.keys...), c.says)
			assert.Empty(t, h, "half-signed headers would be sent")
		})
	}
}
