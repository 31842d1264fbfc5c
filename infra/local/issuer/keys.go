package issuer

import (
	"crypto"
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

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
)

// keys are the signing key and the set that the world may see. The key's id is its thumbprint (RFC 7638), so it
// follows the key and nothing else.
func keys(file string) (jwk.Key, jwk.Set, error) {
	private, err := load(file)
	if err != nil {
		return nil, nil, err
	}
	key, err := jwk.Import(private)
	if err != nil {
		return nil, nil, fmt.Errorf("importing the signing key: %w", err)
	}
	thumbprint, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, nil, fmt.Errorf("naming the signing key: %w", err)
	}
	err = errors.Join(
		key.Set(jwk.KeyIDKey, base64.RawURLEncoding.EncodeToString(thumbprint)),
		key.Set(jwk.AlgorithmKey, jwa.RS256()),
		key.Set(jwk.KeyUsageKey, "sig"),
	)
	if err != nil {
		return nil, nil, fmt.Errorf("describing the signing key: %w", err)
	}
	public, err := key.PublicKey()
	if err != nil {
		return nil, nil, fmt.Errorf("deriving the public key: %w", err)
	}
	set := jwk.NewSet()
	if err := set.AddKey(public); err != nil {
		return nil, nil, fmt.Errorf("publishing the key: %w", err)
	}
	return key, set, nil
}

// load reads the key from file, or makes one and keeps it there.
func load(file string) (*rsa.PrivateKey, error) {
	if file != "" {
		raw, err := os.ReadFile(file) //nolint:gosec // named by our caller
		if err == nil {
			return decode(file, raw)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("reading the signing key: %w", err)
		}
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("making a signing key: %w", err)
	}
	if file == "" {
		return key, nil
	}
	raw := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	draft := file + ".new"                                                                     // half a key must never be found under the key's name
	err = errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(draft, raw, 0o600)) //nolint:gosec // the folder is no secret
	if err == nil {
		err = os.Rename(draft, file)
	}
	if err != nil {
		return nil, fmt.Errorf("keeping the signing key: %w", err)
	}
	return key, nil
}

func decode(file string, raw []byte) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode(raw)
	if block == nil {
		return nil, fmt.Errorf("%s holds no key: delete it and a new one is made", file)
	}
	key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s holds no key: delete it and a new one is made: %w", file, err)
	}
	return key, nil
}
