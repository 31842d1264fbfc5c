package auth

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/tests/kit/forge"
)

type object = forge.Object

// serve starts a provider and a verifier of its tokens.
func serve(t testing.TB) (*forge.Provider, *Verifier) {
	t.Helper()
	p := forge.Listen(t, "")
	return p, verifier(t, http.DefaultClient, issuerOf(p))
}

// issuerOf is a provider as a setting has it.
func issuerOf(p *forge.Provider) Issuer {
	return Issuer{URL: p.URL, Audiences: []string{forge.Audience}}
}

func verifier(t testing.TB, client *http.Client, issuers ...Issuer) *Verifier {
	t.Helper()
	v, err := NewVerifier(Config{Issuers: issuers, Client: client})
	require.NoError(t, err)
	return v
}
