package catalog_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/functions/catalog"
	"github.com/company/order-catalog-service/tests/kit"
)

// Images come by the import and by PATCH, are shown, and stay what they are when a row has none.
func TestImagesOfAProduct(t *testing.T) {
	t.Parallel()
	d := kit.NewDatabase(t)
	load := func(images string) error {
		rows, err := catalog.Read("x.csv", strings.NewReader("sku,name,description,category,price,currency,stock,images\nk1,Kettle,,Kitchen,19.99,USD,5,"+images+"\n"))
		if err != nil {
			return err
		}
		return catalog.Import(t.Context(), d.Pools.Background, rows, func(int, int) {})
	}
	images := func() []string { return kit.One[[]string](t, d, `SELECT images FROM products WHERE sku = 'k1'`) }
	require.NoError(t, load("https://img.example/1.png https://img.example/2.png"))
	assert.Equal(t, []string{"https://img.example/1.png", "https://img.example/2.png"}, images())
	require.NoError(t, load(""))
	assert.Len(t, images(), 2, "a row without images takes none away")
	assert.ErrorContains(t, load("javascript:alert(1)"), "images: want")
	assert.ErrorContains(t, load("/relative.png"), "images: want")
}
