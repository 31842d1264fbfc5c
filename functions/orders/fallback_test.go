package orders_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"

	"github.com/company/order-catalog-service/tests/kit"
)

// TestAnOrderThatCannotBeStoredHarmsNoNeighbour: one of many that wait at the same moment makes its batch fail. The
// others are placed, once each.
func TestAnOrderThatCannotBeStoredHarmsNoNeighbour(t *testing.T) {
	t.Parallel()
	s := open(t)
	product := s.Product(t, 1000)
	// The database refuses it, as it might for a reason that nobody thought of.
	s.Exec(t, `ALTER TABLE orders ADD CONSTRAINT no_eve CHECK (customer_id <> 'eve')`)
	const rounds, neighbours = 5, 12
	ada, eve := s.Token(t, "ada", kit.Everything), s.Token(t, "eve", kit.Everything)
	for round := range rounds {
		var all sync.WaitGroup
		for n := range neighbours {
			all.Go(func() {
				got := s.place(t, ada, fmt.Sprint(round, "-", n), draft("ada", line{product, 1, nil}))
				assert.Equal(t, http.StatusCreated, got.Status, "%s", got.Body)
			})
		}
		all.Go(func() {
			got := s.place(t, eve, uuid.NewString(), draft("eve", line{product, 1, nil}))
			assert.Equal(t, http.StatusInternalServerError, got.Status, "%s", got.Body)
		})
		all.Wait()
	}
	assert.Equal(t, rounds*neighbours, kit.One[int](t, s.Database, `SELECT count(*) FROM orders`))
	assert.Equal(t, 1000-rounds*neighbours, kit.One[int](t, s.Database, `SELECT available FROM inventory WHERE product_id = $1`, product))
	balanced(t, s.Database)
}

func TestATextThatNoDatabaseCanHoldIsRefused(t *testing.T) {
	t.Parallel()
	s := open(t)
	order := draft("ada", line{s.Product(t, 1), 1, nil})
	order["shippingAddress"].(map[string]string)["name"] = "A\x00da"
	got := s.place(t, s.Token(t, "ada", kit.Everything), "k", order)
	assert.Contains(t, []int{http.StatusBadRequest, http.StatusUnprocessableEntity}, got.Status, "%s", got.Body)
}

// TestAProductWithoutStockIsNoProduct: nothing of it can be taken, so that it is as unknown as one that never was.
func TestAProductWithoutStockIsNoProduct(t *testing.T) {
	t.Parallel()
	s := open(t)
	product := s.Product(t, 1)
	s.Exec(t, `DELETE FROM inventory WHERE product_id = $1`, product)
	got := s.place(t, s.Token(t, "ada", kit.Everything), "k", draft("ada", line{product, 1, nil}))
	assert.Equal(t, http.StatusUnprocessableEntity, got.Status, "%s", got.Body)
	assert.Contains(t, string(got.Body), "there is no such product")
}
