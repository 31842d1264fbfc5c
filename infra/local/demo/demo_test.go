package demo_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/demo"
)

func TestDemoCatalogIsAlwaysTheSameThousand(t *testing.T) {
	t.Parallel()
	rows, err := demo.Products()
	require.NoError(t, err)
	require.Len(t, rows, 1000)
	assert.Equal(t, demo.FirstID, rows[0].ID.String())
	assert.Equal(t, "Aurora Trail Running Shoes", rows[0].Name)
	assert.Greater(t, rows[0].Stock, int64(10_000))
	names, skus, categories, soldOut, h := map[string]bool{}, map[string]bool{}, map[string]bool{}, 0, sha256.New()
	for _, r := range rows {
		assert.False(t, names[r.Name], "two products are called %s", r.Name)
		assert.False(t, skus[r.SKU], "two products have the SKU %s", r.SKU)
		names[r.Name], skus[r.SKU], categories[r.Category] = true, true, true
		if r.Stock == 0 {
			soldOut++
		}
		assert.Empty(t, r.Images)
		_, _ = fmt.Fprintf(h, "{%v %v %v %v %v %v %v}\n", r.ID, r.SKU, r.Name, r.Description, r.Category, r.Price, r.Stock)
	}
	assert.Len(t, categories, 20)
	assert.InDelta(t, 40, soldOut, 20)
	assert.Equal(t, "0fee9173ddf70944", hex.EncodeToString(h.Sum(nil)[:8]), "the demo catalog changed: is that meant?")
}
