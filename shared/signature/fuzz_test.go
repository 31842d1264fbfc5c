package signature

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// FuzzVerify: headers from anywhere end in a verdict, and only what the key signed passes.
func FuzzVerify(f *testing.F) {
	key, err := ParseKey("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	require.NoError(f, err)
	f.Add(msgID, "1614265330", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", body)
	f.Add("", "9223372036854775807", "v1, ,v1 v1a,AA==", []byte(nil))
	f.Fuzz(func(t *testing.T, id, stamp, list string, got []byte) {
		err := Verify(http.Header{HeaderID: {id}, HeaderTimestamp: {stamp}, HeaderSignature: {list}}, got, sent, key)
		if err == nil {
			assert.Equal(t, msgID+".1614265330."+string(body), id+"."+stamp+"."+string(got))
		}
	})
}

// FuzzParseKey: what is read is written the same again.
func FuzzParseKey(f *testing.F) {
	f.Add(NewSecret().Text())
	f.Add(NewEd25519().Text())
	f.Add("whpk_")
	f.Fuzz(func(t *testing.T, text string) {
		key, err := ParseKey(text)
		if err != nil {
			return
		}
		again, err := ParseKey(key.Text())
		require.NoError(t, err)
		assert.Equal(t, key, again)
	})
}
