package issuer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
)

// keyRing holds the signing keys: the one in use, the next one, which is published ahead so that every verifier knows it
// when its time comes, and after a rotation the former one, whose tokens live on. Kinds take turns, RSA and EC: who
// takes an issuer's algorithm for given is found out.
type keyRing struct {
	file string // keeps them, "" for nowhere

	mu   sync.Mutex
	keys []jwk.Key // in use, next, former
}

// openKeys reads the keys from file, or makes them and keeps them there.
func openKeys(file string) (*keyRing, error) {
	r := &keyRing{file: file}
	if file != "" {
		raw, err := os.ReadFile(file) //nolint:gosec // named by our caller
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, fmt.Errorf("reading the signing keys: %w", err)
		default:
			if r.keys, err = decode(file, raw); err != nil {
				return nil, err
			}
		}
	}
	had := len(r.keys)
	for len(r.keys) < 2 {
		if err := r.add(); err != nil {
			return nil, err
		}
	}
	if len(r.keys) == had {
		return r, nil
	}
	return r, r.keep()
}

// add makes one more key, of the other kind than the one before.
func (r *keyRing) add() error {
	var (
		private crypto.Signer
		err     error
	)
	if len(r.keys) > 0 && algorithm(r.keys[len(r.keys)-1]) == jwa.RS256() {
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	} else {
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		return fmt.Errorf("making a signing key: %w", err)
	}
	key, err := describe(private)
	if err != nil {
		return err
	}
	r.keys = append(r.keys, key)
	return nil
}

// rotate puts the next key in use. In an emergency, when the one in use is in wrong hands, all keys are replaced: no
// verifier knows the new one, and tokens of the old ones are worth nothing as soon as verifiers look.
func (r *keyRing) rotate(emergency bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.keys
	if emergency {
		r.keys = []jwk.Key{before[1]} // only for its kind, which add alternates with
		if err := errors.Join(r.add(), r.add()); err != nil {
			r.keys = before
			return err
		}
		r.keys = r.keys[1:]
	} else {
		r.keys = []jwk.Key{before[1]}
		if err := r.add(); err != nil {
			r.keys = before
			return err
		}
		r.keys = append(r.keys, before[0])
	}
	return r.keep()
}

// current is the key to sign with.
func (r *keyRing) current() jwk.Key {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.keys[0]
}

// public is what the world may see.
func (r *keyRing) public() (jwk.Set, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	set := jwk.NewSet()
	for _, key := range r.keys {
		public, err := key.PublicKey()
		if err != nil {
			return nil, fmt.Errorf("deriving a public key: %w", err)
		}
		if err := set.AddKey(public); err != nil {
			return nil, fmt.Errorf("publishing a key: %w", err)
		}
	}
	return set, nil
}

func algorithm(key jwk.Key) jwa.SignatureAlgorithm {
	alg, _ := key.Algorithm()
	signs, _ := jwa.LookupSignatureAlgorithm(alg.String())
	return signs
}

// describe makes a key of what JWKs say about it. Its id is its thumbprint (RFC 7638), so it follows the key and nothing
// else.
func describe(private crypto.Signer) (jwk.Key, error) {
	key, err := jwk.Import(private)
	if err != nil {
		return nil, fmt.Errorf("importing a signing key: %w", err)
	}
	thumbprint, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("naming a signing key: %w", err)
	}
	alg := jwa.RS256()
	if _, ok := private.(*ecdsa.PrivateKey); ok {
		alg = jwa.ES256()
	}
	err = errors.Join(
		key.Set(jwk.KeyIDKey, base64.RawURLEncoding.EncodeToString(thumbprint)),
		key.Set(jwk.AlgorithmKey, alg),
		key.Set(jwk.KeyUsageKey, "sig"),
	)
	if err != nil {
		return nil, fmt.Errorf("describing a signing key: %w", err)
	}
	return key, nil
}

// keep writes the keys to the file, in their order.
func (r *keyRing) keep() error {
	if r.file == "" {
		return nil
	}
	var out []byte
	for _, key := range r.keys {
		var private any
		if err := jwk.Export(key, &private); err != nil {
			return fmt.Errorf("keeping the signing keys: %w", err)
		}
		raw, err := x509.MarshalPKCS8PrivateKey(private)
		if err != nil {
			return fmt.Errorf("keeping the signing keys: %w", err)
		}
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})...)
	}
	draft := r.file + ".new"                                                                      // half a key must never be found under the keys' name
	err := errors.Join(os.MkdirAll(filepath.Dir(r.file), 0o755), os.WriteFile(draft, out, 0o600)) //nolint:gosec // the folder is no secret
	if err == nil {
		err = os.Rename(draft, r.file)
	}
	if err != nil {
		return fmt.Errorf("keeping the signing keys: %w", err)
	}
	return nil
}

// decode reads the keys of a file, also of one that holds a single RSA key, as files did before there were several.
func decode(file string, raw []byte) (keys []jwk.Key, err error) {
	damaged := fmt.Errorf("%s holds no signing key: delete it and new ones are made", file)
	for block, rest := pem.Decode(raw); block != nil; block, rest = pem.Decode(rest) {
		var private any
		if block.Type == "RSA PRIVATE KEY" {
			private, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		} else {
			private, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		}
		signer, ok := private.(crypto.Signer)
		if err != nil || !ok {
			return nil, errors.Join(damaged, err)
		}
		key, err := describe(signer)
		if err != nil {
			return nil, errors.Join(damaged, err)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, damaged
	}
	return keys, nil
}
