package signature

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// What a key's text begins with says what it is.
const (
	secretPrefix  = "whsec_" // a secret that both sides know, for HMAC-SHA256
	privatePrefix = "whsk_"  // an ed25519 private key, which never leaves the service
	publicPrefix  = "whpk_"  // its public key, which the customer gets
)

// The sizes of a shared secret in bytes: the standard's bounds, and ours.
const (
	minSecret = 24
	maxSecret = 64
	newSecret = 32
)

// Key signs or verifies. It prints as its kind, never as what it is: Text is the one way to the secret. The zero
// Key does neither.
type Key struct {
	secret  []byte
	private ed25519.PrivateKey
	public  ed25519.PublicKey // of private, or alone
}

// NewSecret makes a secret for HMAC-SHA256, the signature that every receiver can check.
func NewSecret() Key {
	secret := make([]byte, newSecret)
	_, _ = rand.Read(secret) // never fails: it ends the process instead
	return Key{secret: secret}
}

// NewEd25519 makes a private key, for receivers who want to verify without holding anything that can sign.
func NewEd25519() Key {
	seed := make([]byte, ed25519.SeedSize)
	_, _ = rand.Read(seed) // as above
	return fromSeed(seed)
}

func fromSeed(seed []byte) Key {
	private := ed25519.NewKeyFromSeed(seed)
	return Key{private: private, public: bytes.Clone(private[ed25519.SeedSize:])}
}

// ParseKey reads a key's text. The error never quotes it.
func ParseKey(text string) (Key, error) {
	prefix, encoded, ok := strings.Cut(text, "_")
	if !ok {
		return Key{}, errors.New("a webhook key begins with whsec_, whsk_ or whpk_")
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return Key{}, errors.New("a webhook key is base64 after its prefix (with + and /, and padded with =)")
	}
	switch prefix + "_" {
	case secretPrefix:
		if len(raw) < minSecret || len(raw) > maxSecret {
			return Key{}, fmt.Errorf("a whsec_ secret holds %d to %d bytes, this one %d", minSecret, maxSecret, len(raw))
		}
		return Key{secret: raw}, nil
	case privatePrefix:
		return parsePrivate(raw)
	case publicPrefix:
		if len(raw) != ed25519.PublicKeySize {
			return Key{}, fmt.Errorf("a whpk_ key holds %d bytes, this one %d", ed25519.PublicKeySize, len(raw))
		}
		return Key{public: raw}, nil
	}
	return Key{}, errors.New("a webhook key begins with whsec_, whsk_ or whpk_")
}

// parsePrivate takes both forms that are about: the seed (RFC 8032), and the seed with its public key.
func parsePrivate(raw []byte) (Key, error) {
	if len(raw) != ed25519.SeedSize && len(raw) != ed25519.PrivateKeySize {
		return Key{}, fmt.Errorf("a whsk_ key holds %d or %d bytes, this one %d", ed25519.SeedSize, ed25519.PrivateKeySize, len(raw))
	}
	k := fromSeed(raw[:ed25519.SeedSize])
	if len(raw) == ed25519.PrivateKeySize && !bytes.Equal(raw, k.private) {
		return Key{}, errors.New("a whsk_ key's second half must be the public key of its first")
	}
	return k, nil
}

// Text is what ParseKey reads: the secret itself, for the customer's one answer and the encrypted column.
func (k Key) Text() string {
	switch {
	case k.secret != nil:
		return secretPrefix + base64.StdEncoding.EncodeToString(k.secret)
	case k.private != nil:
		return privatePrefix + base64.StdEncoding.EncodeToString(k.private.Seed())
	case k.public != nil:
		return publicPrefix + base64.StdEncoding.EncodeToString(k.public)
	}
	return ""
}

// PublicKey is the part of an ed25519 key that may be shown; false for a secret, which has no such part.
func (k Key) PublicKey() (Key, bool) {
	return Key{public: k.public}, k.public != nil
}

// String is the kind of the key, so that no log line and no %v has the secret.
func (k Key) String() string {
	switch {
	case k.secret != nil:
		return secretPrefix + "..."
	case k.private != nil:
		return privatePrefix + "..."
	}
	return k.Text() // public, or nothing
}

// GoString is String, for %#v.
func (k Key) GoString() string { return k.String() }

// version is the signature's prefix: v1 is HMAC-SHA256, v1a ed25519. A key checks the signatures of its own
// version only.
func (k Key) version() string {
	switch {
	case k.secret != nil:
		return "v1"
	case k.public != nil:
		return "v1a"
	}
	return ""
}

func (k Key) sign(content []byte) ([]byte, error) {
	switch {
	case k.secret != nil:
		return k.mac(content), nil
	case k.private != nil:
		return ed25519.Sign(k.private, content), nil
	case k.public != nil:
		return nil, errors.New("a whpk_ key only verifies: sign with the whsk_ key it belongs to")
	}
	return nil, errors.New("the key is empty")
}

// verify takes the same time for every wrong sum: how long it took tells nobody how much of it was right.
func (k Key) verify(content, sum []byte) bool {
	switch {
	case k.secret != nil:
		return hmac.Equal(sum, k.mac(content))
	case k.public != nil:
		return ed25519.Verify(k.public, content, sum)
	}
	return false
}

func (k Key) mac(content []byte) []byte {
	h := hmac.New(sha256.New, k.secret)
	h.Write(content)
	return h.Sum(nil)
}
