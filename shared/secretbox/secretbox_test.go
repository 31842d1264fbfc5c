package secretbox_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"sync/atomic"
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

// What is sealed names its key, so that a rotation finds what is left: by the bytes alone, without opening it.
func TestASealedValueNamesItsKey(t *testing.T) {
	t.Parallel()
	old, both := box(t, "endpoints", first), box(t, "endpoints", second, first)
	sealed := old.Seal([]byte("x"), nil)
	assert.True(t, old.Current(sealed))
	assert.True(t, bytes.HasPrefix(sealed, old.Prefix()))
	assert.False(t, both.Current(sealed))
	assert.True(t, both.Current(both.Seal([]byte("x"), nil)))
	assert.NotEqual(t, old.KeyID(), both.KeyID())
	assert.NotEqual(t, old.KeyID(), box(t, "answers", first).KeyID(), "ids of two purposes tell nobody that the secret is one")
	assert.NotContains(t, first, old.KeyID())
}

// Values from before keys had ids still open, under any of the secrets.
func TestTheFormerFormOpens(t *testing.T) {
	t.Parallel()
	key, err := hkdf.Key(sha256.New, []byte(first), nil, "sealed endpoints v1", 32)
	require.NoError(t, err)
	block, err := aes.NewCipher(key)
	require.NoError(t, err)
	aead, err := cipher.NewGCMWithRandomNonce(block)
	require.NoError(t, err)
	former := aead.Seal([]byte{1}, nil, []byte("x"), []byte("row"))
	both := box(t, "endpoints", second, first)
	got, err := both.Open(former, []byte("row"))
	require.NoError(t, err)
	assert.Equal(t, "x", string(got))
	assert.False(t, both.Current(former), "and is to be sealed anew")
	_, err = box(t, "endpoints", second).Open(former, []byte("row"))
	assert.ErrorIs(t, err, secretbox.ErrSealed)
}

// A box changes its secrets while it is used, and asks for others when it meets a key that it doesn't have.
func TestABoxFollowsARotation(t *testing.T) {
	t.Parallel()
	here, there := box(t, "endpoints", first), box(t, "endpoints", second, first)
	var asked atomic.Int32
	here.OnMissing(func() { asked.Add(1) })
	sealed := there.Seal([]byte("x"), nil)
	_, err := here.Open(sealed, nil)
	require.ErrorIs(t, err, secretbox.ErrSealed)
	assert.Equal(t, int32(1), asked.Load())
	require.Error(t, here.Use([]byte("short")))
	require.Error(t, here.Use())
	require.NoError(t, here.Use([]byte(second), []byte(first)))
	got, err := here.Open(sealed, nil)
	require.NoError(t, err)
	assert.Equal(t, "x", string(got))
	for _, damaged := range [][]byte{sealed[:5], append(bytes.Clone(sealed), 0), {9}} {
		_, err = here.Open(damaged, nil)
		require.ErrorIs(t, err, secretbox.ErrSealed)
	}
	assert.Equal(t, int32(1), asked.Load(), "no other key would help what is damaged")
}
