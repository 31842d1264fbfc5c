package carts_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/functions/carts"
	"github.com/company/order-catalog-service/tests/kit"
)

func open(t *testing.T) *kit.API {
	t.Helper()
	api := kit.NewAPI(t)
	carts.New(carts.Options{API: api.REST, Pools: api.Pools, Keys: api.Keys})
	return api
}

func TestCart(t *testing.T) {
	t.Parallel()
	api := open(t)
	a, b := api.Product(t, 5), api.Product(t, 5)
	token := api.Token(t, "ada", "")
	create := kit.Call{Method: http.MethodPost, Path: "/api/v1/carts", Token: token, Key: "c", Body: map[string]string{"sessionId": "s1"}}
	made := api.Do(t, create)
	require.Equal(t, http.StatusCreated, made.Status, "%s", made.Body)
	location := made.Header.Get("Location")
	assert.Equal(t, string(made.Body), string(api.Do(t, create).Body), "a replay")
	assert.NotContains(t, made.JSON(t), "totalAmount", "an empty cart has no currency")

	put := func(key string, product uuid.UUID, quantity int, header http.Header) kit.Reply {
		return api.Do(t, kit.Call{
			Method: http.MethodPut, Path: location + "/items", Token: token, Key: key, Header: header,
			Body: map[string]any{"productId": product, "quantity": quantity},
		})
	}
	require.Equal(t, http.StatusOK, put("1", a, 2, nil).Status)
	two := put("2", b, 1, nil)
	assert.Equal(t, map[string]any{"amount": "59.97", "currency": "USD"}, two.JSON(t)["totalAmount"])
	set := put("3", a, 1, http.Header{"If-Match": {two.Header.Get("ETag")}})
	require.Equal(t, http.StatusOK, set.Status, "%s", set.Body)
	assert.Equal(t, map[string]any{"amount": "39.98", "currency": "USD"}, set.JSON(t)["totalAmount"], "PUT sets, it does not add")
	assert.Equal(t, http.StatusPreconditionFailed, put("4", a, 3, http.Header{"If-Match": {two.Header.Get("ETag")}}).Status)
	for i, bad := range []int{0, -1, 1000} {
		assert.Equal(t, http.StatusUnprocessableEntity, put(fmt.Sprint("bad", i), a, bad, nil).Status)
	}
	unknown := put("5", uuid.New(), 1, nil)
	assert.Equal(t, http.StatusUnprocessableEntity, unknown.Status)
	assert.Contains(t, string(unknown.Body), `"/productId"`)

	api.Exec(t, `UPDATE products SET price_minor = 100 WHERE id = $1`, a)
	read := api.Do(t, kit.Call{Method: http.MethodGet, Path: location, Token: token})
	assert.Equal(t, map[string]any{"amount": "20.99", "currency": "USD"}, read.JSON(t)["totalAmount"], "prices are live")

	for i := range 2 {
		gone := api.Do(t, kit.Call{Method: http.MethodDelete, Path: location + "/items/" + a.String(), Token: token, Key: fmt.Sprint("d", i)})
		require.Equal(t, http.StatusOK, gone.Status, "%s", gone.Body)
		assert.Len(t, gone.JSON(t)["items"], 1)
	}
}

// CC-05: of changes that were all made to the same version of a cart one is done, and the others are told.
func TestCC05ParallelChangesOfACart(t *testing.T) {
	t.Parallel()
	api := open(t)
	token, product := api.Token(t, "ada", ""), api.Product(t, 5)
	made := api.Do(t, kit.Call{Method: http.MethodPost, Path: "/api/v1/carts", Token: token, Key: "c", Body: map[string]string{"sessionId": "s1"}})
	location, etag := made.Header.Get("Location"), made.Header.Get("ETag")
	var (
		all      sync.WaitGroup
		statuses [8]int
	)
	for i := range statuses {
		all.Go(func() {
			statuses[i] = api.Do(t, kit.Call{
				Method: http.MethodPut, Path: location + "/items", Token: token, Key: fmt.Sprint("p", i), Header: http.Header{"If-Match": {etag}},
				Body: map[string]any{"productId": product, "quantity": i + 1},
			}).Status
		})
	}
	all.Wait()
	done := map[int]int{}
	for _, status := range statuses {
		done[status]++
	}
	assert.Equal(t, map[int]int{http.StatusOK: 1, http.StatusPreconditionFailed: 7}, done)
}

// CC-03 and CC-04: conditions of both kinds are honoured, and a cart that isn't there stays not found whatever they say.
func TestCC03CartsHonourConditions(t *testing.T) {
	t.Parallel()
	api := open(t)
	token, product := api.Token(t, "ada", ""), api.Product(t, 5)
	made := api.Do(t, kit.Call{Method: http.MethodPost, Path: "/api/v1/carts", Token: token, Key: "c", Body: map[string]string{"sessionId": "s1"}})
	location, etag := made.Header.Get("Location"), made.Header.Get("ETag")
	key := 0
	put := func(path string, header http.Header) int {
		key++
		return api.Do(t, kit.Call{
			Method: http.MethodPut, Path: path + "/items", Token: token, Key: fmt.Sprint("k", key), Header: header, Body: map[string]any{"productId": product, "quantity": key},
		}).Status
	}
	assert.Equal(t, http.StatusPreconditionFailed, put(location, http.Header{"If-None-Match": {etag}}))
	assert.Equal(t, http.StatusPreconditionFailed, put(location, http.Header{"If-None-Match": {"*"}}))
	assert.Equal(t, http.StatusPreconditionFailed, put(location, http.Header{"If-Match": {"W/" + etag}}), "weak tags never match")
	assert.Equal(t, http.StatusOK, put(location, http.Header{"If-Match": {`"x"`, etag}}), "two lines are one list")
	assert.Equal(t, http.StatusOK, put(location, http.Header{"If-Match": {"*"}}))
	assert.Equal(t, http.StatusOK, put(location, http.Header{"If-Unmodified-Since": {"Thu, 01 Jan 1970 00:00:00 GMT"}}), "nothing here has a date")
	assert.Equal(t, http.StatusNotFound, put("/api/v1/carts/"+uuid.NewString(), http.Header{"If-Match": {"*"}}))
	removed := api.Do(t, kit.Call{
		Method: http.MethodDelete, Path: location + "/items/" + product.String(), Token: token, Key: "d", Header: http.Header{"If-Match": {etag}},
	})
	assert.Equal(t, http.StatusPreconditionFailed, removed.Status)
}

func TestCartsAreTheirOwners(t *testing.T) {
	t.Parallel()
	api := open(t)
	product := api.Product(t, 5)
	made := api.Do(t, kit.Call{Method: http.MethodPost, Path: "/api/v1/carts", Token: api.Token(t, "ada", ""), Key: "c", Body: map[string]string{"sessionId": "s1"}})
	location, eve := made.Header.Get("Location"), api.Token(t, "eve", "")
	for i, call := range []kit.Call{
		{Method: http.MethodGet, Path: location},
		{Method: http.MethodPut, Path: location + "/items", Body: map[string]any{"productId": product, "quantity": 1}},
		{Method: http.MethodDelete, Path: location + "/items/" + product.String()},
	} {
		call.Token, call.Key = eve, fmt.Sprint(i)
		assert.Equal(t, http.StatusNotFound, api.Do(t, call).Status)
		call.Token = ""
		assert.Equal(t, http.StatusUnauthorized, api.Do(t, call).Status)
	}
	assert.Zero(t, kit.One[int](t, api.Database, `SELECT count(*) FROM cart_items`))
}

func TestFullCart(t *testing.T) {
	t.Parallel()
	api := open(t)
	token := api.Token(t, "ada", "")
	location := api.Do(t, kit.Call{Method: http.MethodPost, Path: "/api/v1/carts", Token: token, Key: "c", Body: map[string]string{"sessionId": "s1"}}).Header.Get("Location")
	api.Exec(t, `WITH p AS (INSERT INTO products (id, sku, name, category, price_minor, currency)
		SELECT gen_random_uuid(), 'S' || n, 'N', 'C', 1, 'USD' FROM generate_series(1, 100) n RETURNING id)
		INSERT INTO cart_items (cart_id, product_id, quantity) SELECT (SELECT id FROM carts), id, 1 FROM p`)
	full := api.Do(t, kit.Call{Method: http.MethodPut, Path: location + "/items", Token: token, Key: "p", Body: map[string]any{"productId": api.Product(t, 1), "quantity": 1}})
	assert.Equal(t, http.StatusUnprocessableEntity, full.Status)
	assert.Contains(t, string(full.Body), "the cart is full")
}

func TestPurge(t *testing.T) {
	t.Parallel()
	api := open(t)
	token := api.Token(t, "ada", "")
	for i := range 3 {
		api.Do(t, kit.Call{Method: http.MethodPost, Path: "/api/v1/carts", Token: token, Key: fmt.Sprint(i), Body: map[string]string{"sessionId": "s"}})
	}
	api.Exec(t, `UPDATE carts SET updated_at = now() - interval '31 days' WHERE id IN (SELECT id FROM carts LIMIT 2)`)
	n, err := carts.Purge(context.Background(), api.Pools.Background, 30*24*time.Hour, 10)
	require.NoError(t, err)
	assert.Equal(t, 2, n)
	assert.Equal(t, 1, kit.One[int](t, api.Database, `SELECT count(*) FROM carts`))
}
