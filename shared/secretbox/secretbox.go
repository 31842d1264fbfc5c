// Package secretbox keeps secrets in the database that whoever reads the database alone can't use: AES-256-GCM
// under keys derived from a setting that the database never sees.
//
// Each use has a box of its own (New's purpose), so that what was sealed for one can't be opened as another's, and
// each sealed value is bound to its row (Seal's owner): copied into another row it doesn't open.
package secretbox

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
)

// MinSecret is the least length of a setting in bytes.
const MinSecret = 16

// version begins every sealed value, for the day on which the form changes.
const version = 1

// ErrSealed says that a value can't be opened: sealed under another secret, for another row, or damaged.
var ErrSealed = errors.New("a sealed value can't be opened: the secret it was sealed under is not among the configured ones")

// Box seals and opens. It is safe for concurrent use.
type Box struct{ keys []cipher.AEAD }

// New makes the box of one purpose. The first secret seals and all open, so that a new secret can be put in front
// while values of the old one are still about.
func New(purpose string, secrets ...[]byte) (*Box, error) {
	if len(secrets) == 0 {
		return nil, errors.New("a box needs a secret")
	}
	b := &Box{}
	for _, secret := range secrets {
		if len(secret) < MinSecret {
			return nil, fmt.Errorf("a secret needs at least %d bytes", MinSecret)
		}
		key, err := hkdf.Key(sha256.New, secret, nil, "sealed "+purpose+" v1", 32)
		if err != nil {
			return nil, fmt.Errorf("deriving a key: %w", err)
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, fmt.Errorf("making a cipher: %w", err)
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, fmt.Errorf("making a cipher: %w", err)
		}
		b.keys = append(b.keys, aead)
	}
	return b, nil
}

// Seal encrypts plain for the row that owner names; Open needs the same owner.
func (b *Box) Seal(plain, owner []byte) []byte {
	return b.keys[0].Seal([]byte{version}, nil, plain, owner) //nolint:gosec // that is where it appends to; the nonce is random and the cipher's own
}

// Open is what Seal was given, or ErrSealed.
func (b *Box) Open(sealed, owner []byte) ([]byte, error) {
	if len(sealed) == 0 || sealed[0] != version {
		return nil, ErrSealed
	}
	for _, key := range b.keys {
		if plain, err := key.Open(nil, nil, sealed[1:], owner); err == nil {
			return plain, nil
		}
	}
	return nil, ErrSealed
}
