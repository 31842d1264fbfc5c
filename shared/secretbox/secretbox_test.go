package secretbox_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/secretbox"
)

func box(t *testing.T, purpose string, secrets ...string) *secretbox.Box {
	t.Helper()
	var raw [][]byte
	for _, s := range secrets {
		raw = append(raw, []byte(s))
	}
	b, err := secretbox.New(purpose, raw...)
	require.NoError(t, err)
	return b
}

const (
	first  = "the first secret of this test"
	second = "the second secret of this test"
)

// TestOpensOnlyWhatIsItsOwn: another secret, purpose or row, and any changed byte, are refused.
func TestOpensOnlyWhatIsItsOwn(t *testing.T) {
	t.Parallel()
	plain, row := []byte("whsec_abc"), []byte("row 1")
	b := box(t, "endpoints", first)
	sealed := b.Seal(plain, row)
	assert.NotContains(t, string(sealed), "abc")
	assert.NotEqual(t, sealed, b.Seal(plain, row), "two seals of one value tell nobody that they are equal")

	got, err := box(t, "endpoints", first).Open(sealed, row)
	require.NoError(t, err, "another process opens it")
	assert.Equal(t, plain, got)

	for name, open := range map[string]func() ([]byte, error){
		"another secret":  func() ([]byte, error) { return box(t, "endpoints", second).Open(sealed, row) },
		"another purpose": func() ([]byte, error) { return box(t, "answers", first).Open(sealed, row) },
		"another row":     func() ([]byte, error) { return b.Open(sealed, []byte("row 2")) },
		"nothing":         func() ([]byte, error) { return b.Open(nil, row) },
		"cut":             func() ([]byte, error) { return b.Open(sealed[:len(sealed)-1], row) },
	} {
		_, err := open()
		assert.ErrorIs(t, err, secretbox.ErrSealed, name)
	}
	for i := range sealed {
		damaged := bytes.Clone(sealed)
		damaged[i] ^= 1
		_, err := b.Open(damaged, row)
		assert.ErrorIs(t, err, secretbox.ErrSealed, "byte %d", i)
	}
}

// TestSecretsRotate: what the old secret sealed opens beside the new one, and what is sealed now needs the new one.
func TestSecretsRotate(t *testing.T) {
	t.Parallel()
	old := box(t, "endpoints", first).Seal([]byte("x"), nil)
	both := box(t, "endpoints", second, first)
	got, err := both.Open(old, nil)
	require.NoError(t, err)
	assert.Equal(t, "x", string(got))
	got, err = box(t, "endpoints", second).Open(both.Seal([]byte("y"), nil), nil)
	require.NoError(t, err)
	assert.Equal(t, "y", string(got))
}

func TestWeakSecretsAreRefused(t *testing.T) {
	t.Parallel()
	_, err := secretbox.New("endpoints")
	assert.Error(t, err)
	_, err = secretbox.New("endpoints", []byte(first), []byte("short"))
	assert.Error(t, err)
}
