// Package secretbox keeps secrets in the database that whoever reads the database alone can't use: AES-256-GCM
// under keys derived from a setting that the database never sees.
//
// Each use has a box of its own (New's purpose), so that what was sealed for one can't be opened as another's, and
// each sealed value is bound to its row (Seal's owner): copied into another row it doesn't open. A sealed value begins
// with the id of its key, so that a box with several knows which one opens it, and a rotation what is left to do.
package secretbox

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync/atomic"
)

// MinSecret is the least length of a setting in bytes.
const MinSecret = 16

// A sealed value begins with its form: 2 is followed by the id of its key, 1 is from before keys had ids.
const (
	formWithID    = 2
	formWithoutID = 1
	idSize        = 8
)

// ErrSealed says that a value can't be opened: sealed under another secret, for another row, or damaged.
var ErrSealed = errors.New("a sealed value can't be opened: the secret it was sealed under is not among the configured ones")

// Box seals and opens. It is safe for concurrent use.
type Box struct {
	purpose string
	keys    atomic.Pointer[[]key]
	missing atomic.Pointer[func()]
}

type key struct {
	id   [idSize]byte
	aead cipher.AEAD
}

// New makes the box of one purpose. The first secret seals and all open, so that a new secret can be put in front
// while values of the old one are still about.
func New(purpose string, secrets ...[]byte) (*Box, error) {
	b := &Box{purpose: purpose}
	return b, b.Use(secrets...)
}

// Use changes the secrets, for all who use the box at this moment. On an error the box stays as it was.
func (b *Box) Use(secrets ...[]byte) error {
	if len(secrets) == 0 {
		return errors.New("a box needs a secret")
	}
	var keys []key
	for _, secret := range secrets {
		if len(secret) < MinSecret {
			return fmt.Errorf("a secret needs at least %d bytes", MinSecret)
		}
		k, err := b.derive(secret)
		if err != nil {
			return err
		}
		keys = append(keys, k)
	}
	b.keys.Store(&keys)
	return nil
}

// derive makes the key of a secret and its id. The id tells which secret it is to who has it, and nothing of it to who
// has not: it is derived like the key, for a purpose of its own.
func (b *Box) derive(secret []byte) (k key, err error) {
	raw, err := hkdf.Key(sha256.New, secret, nil, "sealed "+b.purpose+" v1", 32)
	if err != nil {
		return k, fmt.Errorf("deriving a key: %w", err)
	}
	id, err := hkdf.Key(sha256.New, secret, nil, "key id of "+b.purpose+" v1", idSize)
	if err != nil {
		return k, fmt.Errorf("deriving a key's id: %w", err)
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		return k, fmt.Errorf("making a cipher: %w", err)
	}
	if k.aead, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return k, fmt.Errorf("making a cipher: %w", err)
	}
	copy(k.id[:], id)
	return k, nil
}

// OnMissing has f called when a value was sealed under a key that the box doesn't have: another process may have a
// newer secret already. f must return at once.
func (b *Box) OnMissing(f func()) { b.missing.Store(&f) }

// Prefix is what values begin with that Seal makes now. What begins otherwise is of another key.
func (b *Box) Prefix() []byte { return (*b.keys.Load())[0].prefix() }

// KeyID is the id of the key that seals now, for people.
func (b *Box) KeyID() string { return hex.EncodeToString(b.Prefix()[1:]) }

// Current tells whether a value is sealed under the key that seals now.
func (b *Box) Current(sealed []byte) bool { return bytes.HasPrefix(sealed, b.Prefix()) }

func (k key) prefix() []byte { return append([]byte{formWithID}, k.id[:]...) }

// Seal encrypts plain for the row that owner names; Open needs the same owner.
func (b *Box) Seal(plain, owner []byte) []byte {
	k := (*b.keys.Load())[0]
	return k.aead.Seal(k.prefix(), nil, plain, owner) //nolint:gosec // that is where it appends to; the nonce is random and the cipher's own
}

// Open is what Seal was given, or ErrSealed.
func (b *Box) Open(sealed, owner []byte) ([]byte, error) {
	if len(sealed) == 0 {
		return nil, ErrSealed
	}
	keys, body, known := *b.keys.Load(), sealed[1:], false
	switch {
	case sealed[0] == formWithoutID:
		known = true
		for _, k := range keys {
			if plain, err := k.aead.Open(nil, nil, body, owner); err == nil {
				return plain, nil
			}
		}
	case sealed[0] == formWithID && len(body) > idSize:
		for _, k := range keys {
			if k.id != [idSize]byte(body[:idSize]) {
				continue
			}
			known = true
			if plain, err := k.aead.Open(nil, nil, body[idSize:], owner); err == nil {
				return plain, nil
			}
		}
	default:
		known = true // of no form that there is: no key would help
	}
	if ask := b.missing.Load(); !known && ask != nil {
		(*ask)()
	}
	return nil, ErrSealed
}
