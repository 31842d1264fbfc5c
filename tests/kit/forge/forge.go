// Package forge makes tokens: good ones, and those that lie about themselves, which no library would make. Tokens and key
// documents are written by hand here, so that the library under test is not also the one that says what is right.
//
// Read provider.go for who signs, attacks.go for what must be refused and why.
package forge

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"strings"
	"sync"
)

// Object is a JSON object.
type Object = map[string]any

// The keys, made when first asked for: the provider's of two kinds, and a stranger's.
var (
	RSA      = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	Stranger = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	EC       = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Base64 is base64url without padding.
func Base64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// Text is a JSON document.
func Text(v any) string { return string(must(json.Marshal(v))) }

// RSAKey is a public key as its document has it.
func RSAKey(kid string, key *rsa.PrivateKey) Object {
	return Object{"kty": "RSA", "kid": kid, "n": Base64(key.N.Bytes()), "e": Base64(big.NewInt(int64(key.E)).Bytes())}
}

// ECKey is a public key on P-256 as its document has it.
func ECKey(kid string, key *ecdsa.PrivateKey) Object {
	point := must(key.PublicKey.Bytes()) // 0x04, x, y
	return Object{"kty": "EC", "crv": "P-256", "kid": kid, "x": Base64(point[1:33]), "y": Base64(point[33:])}
}

// Mint signs as the header's alg says: by key, or for ES256 by EC. Any other alg gets an empty signature.
func Mint(header, claims Object, key *rsa.PrivateKey) string {
	input := Base64([]byte(Text(header))) + "." + Base64([]byte(Text(claims)))
	sum := sha256.Sum256([]byte(input))
	var signature []byte
	switch header["alg"] {
	case "RS256":
		signature = must(rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:]))
	case "RS512":
		long := sha512.Sum512([]byte(input))
		signature = must(rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA512, long[:]))
	case "PS256":
		signature = must(rsa.SignPSS(rand.Reader, key, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}))
	case "ES256":
		r, s, err := ecdsa.Sign(rand.Reader, EC(), sum[:])
		must(0, err)
		signature = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	}
	return input + "." + Base64(signature)
}

// MAC signs with HMAC: what an attacker does with a public key that he takes for a secret.
func MAC(header, claims Object, secret []byte) string {
	input := Base64([]byte(Text(header))) + "." + Base64([]byte(Text(claims)))
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(input))
	return input + "." + Base64(h.Sum(nil))
}

// Sign signs texts as they are, by RSA and RS256, whatever the header says.
func Sign(header, payload string) string {
	input := Base64([]byte(header)) + "." + Base64([]byte(payload))
	sum := sha256.Sum256([]byte(input))
	return input + "." + Base64(must(rsa.SignPKCS1v15(rand.Reader, RSA(), crypto.SHA256, sum[:])))
}

// loose writes base64url that decodes to the same bytes for who doesn't look at the bits after the last one.
func loose(part string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	if len(part)%4 == 0 {
		panic("no bits are left over")
	}
	last := strings.IndexByte(alphabet, part[len(part)-1])
	return part[:len(part)-1] + string(alphabet[last+1])
}
