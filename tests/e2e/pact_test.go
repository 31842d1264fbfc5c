//go:build contracts

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/pact-foundation/pact-go/v2/log"
	"github.com/pact-foundation/pact-go/v2/message"
	"github.com/pact-foundation/pact-go/v2/models"
	"github.com/pact-foundation/pact-go/v2/provider"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/host"
	"github.com/company/order-catalog-service/tests/kit"
)

const pacts = "../contracts/pact/pacts"

// shop is the provider of the storefront's contract: the running service, and what is in it.
type shop struct {
	*service
	t *testing.T

	mu       sync.Mutex
	customer string // who asks next
}

// setUp makes what a state says there is, for a customer of its own, and tells its ids.
func (s *shop) setUp(state func(customer string) models.ProviderStateResponse) models.StateHandler {
	return func(setup bool, _ models.ProviderState) (models.ProviderStateResponse, error) {
		if !setup {
			return nil, nil
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.customer = "customer-" + kit.Unique(s.t)
		found := state(s.customer)
		found["customerId"] = s.customer
		return found, nil
	}
}

func (s *shop) states() models.StateHandlers {
	stocked := func(units int) models.StateHandler {
		return s.setUp(func(string) models.ProviderStateResponse {
			return models.ProviderStateResponse{"productId": s.world.Product(s.t, units).String()}
		})
	}
	ordered := s.setUp(func(customer string) models.ProviderStateResponse {
		product := s.world.Product(s.t, 5).String()
		placed, err := s.send(s.t.Context(), call{
			method: http.MethodPost, path: "/api/v1/orders", token: s.world.token(s.t, customer), key: "storefront-again",
			body: draft(customer, map[string]int{product: 2}),
		})
		require.NoError(s.t, err)
		require.Equal(s.t, http.StatusCreated, placed.status, "%s", placed.body)
		return models.ProviderStateResponse{"productId": product, "orderId": member(s.t, placed, "id")}
	})
	return models.StateHandlers{
		"a catalog of several products": s.setUp(func(string) models.ProviderStateResponse {
			for range 3 {
				s.world.Product(s.t, 1)
			}
			return models.ProviderStateResponse{}
		}),
		"a product in stock":                            stocked(5),
		"a product with one unit left":                  stocked(1),
		"an order placed with the key storefront-again": ordered,
		"a customer with an order":                      ordered,
	}
}

// signIn puts the token of the state's customer where the contract has an example of one.
func (s *shop) signIn(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			s.mu.Lock()
			token, err := s.world.issuer.Token(s.customer, kit.Everything)
			s.mu.Unlock()
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			r.Header.Set("Authorization", "Bearer "+token)
		}
		next.ServeHTTP(w, r)
	})
}

// holds tells whether the provider does what the contract in a file says. It is asked in a test of its own, since the
// library fails the test that it is given.
func holds(request provider.VerifyRequest) bool {
	request.Provider, request.DisableColoredOutput = "order-catalog", true
	verify := testing.InternalTest{Name: "verify", F: func(t *testing.T) {
		t.Helper()
		_ = provider.NewVerifier().VerifyProvider(t, request) // it has failed t
	}}
	return testing.RunTests(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{verify})
}

// broken writes a contract that asks for something else.
func broken(t *testing.T, name, from, to string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(pacts, name))
	require.NoError(t, err)
	require.Contains(t, string(text), from, "mend the test")
	file := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(file, []byte(strings.ReplaceAll(string(text), from, to)), 0o600))
	return file
}

// TestPactTheStorefrontsContractHolds asks the running service what the storefront asks, in each state that it names.
func TestPactTheStorefrontsContractHolds(t *testing.T) {
	require.NoError(t, log.SetLogLevel("ERROR"))
	const name = "storefront-order-catalog.json"
	w := newWorld(t)
	s := &shop{service: w.start(t, w.AppURL, host.Limits{}), t: t}
	verify := func(file string) bool {
		return holds(provider.VerifyRequest{
			ProviderBaseURL: "http://" + s.Addr(), PactFiles: []string{file}, StateHandlers: s.states(), RequestFilter: s.signIn,
			RequestTimeout: 20 * time.Second,
		})
	}
	assert.True(t, verify(filepath.Join(pacts, name)), "the storefront relies on something that isn't so: see above")

	// Each of these the verification must refuse; it says FAIL above.
	for from, to := range map[string]string{
		`"orderNumber":`:        `"number":`,     // a member that isn't there
		`"status": 201`:         `"status": 200`, // another status
		`sold-out$`:             `sold-off$`,     // another problem
		`"Idempotent-Replayed"`: `"Replayed"`,    // another header
	} {
		assert.False(t, verify(broken(t, name, from, to)), "nobody saw that %s became %s", from, to)
	}
}

// TestPactTheReceiversContractHolds compares deliveries, as an endpoint got them from the running service, with what a
// receiver reads of them.
func TestPactTheReceiversContractHolds(t *testing.T) {
	require.NoError(t, log.SetLogLevel("ERROR"))
	const name = "webhook-receiver-order-catalog.json"
	w := newWorld(t)
	s := readContract(t, w.start(t, w.AppURL, host.Limits{}))
	endpoint, admin := newCustomer(t), w.shopToken(t)
	endpoint.register(t, s, admin)
	product, customer := w.Product(t, 2).String(), "customer-"+kit.Unique(t)
	write := func(want int, method, path string, body any) reply {
		t.Helper()
		return s.do(t, want, call{method: method, path: path, token: admin, key: uuid.NewString(), body: body})
	}
	order := "/api/v1/orders/" + member(t, s.do(t, http.StatusCreated, call{
		method: http.MethodPost, path: "/api/v1/orders", token: w.token(t, customer), key: uuid.NewString(), body: draft(customer, map[string]int{product: 2}),
	}), "id")
	write(http.StatusOK, http.MethodPost, order+"/confirm", nil)
	write(http.StatusOK, http.MethodPatch, order+"/cancel", map[string]any{"reason": "changed my mind"})
	read, err := s.send(t.Context(), call{method: http.MethodGet, path: "/api/v1/products/" + product, token: w.token(t, customer)})
	require.NoError(t, err)
	s.do(t, http.StatusOK, call{
		method: http.MethodPatch, path: "/api/v1/products/" + product, token: admin, key: uuid.NewString(), ifMatch: read.header.Get("ETag"),
		body: map[string]any{"price": map[string]any{"amount": "21.00", "currency": "USD"}},
	})

	delivered := map[string][]byte{}
	for range 5 {
		body := endpoint.next(t, 20*time.Second).body
		var event struct{ Type string }
		require.NoError(t, json.Unmarshal(body, &event))
		delivered[event.Type] = body
	}
	require.Len(t, delivered, 5, "one of each type")
	tell := func(kind string) message.Handler {
		return func([]models.ProviderState) (message.Body, message.Metadata, error) {
			body, ok := delivered[kind]
			if !ok {
				return nil, nil, fmt.Errorf("no %s was delivered", kind)
			}
			return body, message.Metadata{"contentType": "application/json"}, nil
		}
	}
	verify := func(file string) bool {
		return holds(provider.VerifyRequest{PactFiles: []string{file}, MessageHandlers: message.Handlers{
			"an order was created":   tell("order.created.v1"),
			"an order was confirmed": tell("order.confirmed.v1"),
			"an order was cancelled": tell("order.cancelled.v1"),
			"a price has changed":    tell("product.price_changed.v1"),
			"the last unit is gone":  tell("product.stock_depleted.v1"),
		}})
	}
	assert.True(t, verify(filepath.Join(pacts, name)), "the receiver relies on something that isn't so: see above")
	for from, to := range map[string]string{
		`"newPrice":`:  `"price":`,
		`"Cancelled"`:  `"Canceled"`,
		`"sequence":`:  `"number":`,
		`"postalCode"`: `"zip"`,
	} {
		assert.False(t, verify(broken(t, name, from, to)), "nobody saw that %s became %s", from, to)
	}
}
