package orders

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// FuzzQueued reads what came from the queue of orders: what is taken has all that placing needs.
func FuzzQueued(f *testing.F) {
	for _, seed := range []string{"{}", "null", "[]", `{"key":"k","operation":"place-order"}`, `{"unknown":1}`, `{"fingerprint":"AAAA"}`, `{"acceptedAt":"x"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		q, err := readQueued(body)
		if err != nil {
			return
		}
		require.NotEmpty(t, q.Key)
		require.NotEmpty(t, q.Draft.Lines)
		require.NotEqual(t, uuid.Nil, q.Caller)
		require.NotZero(t, q.request().Fingerprint)
	})
}
