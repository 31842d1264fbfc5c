package orders

import (
	"math"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/money"
)

func euros(t *testing.T, minor int64) money.Money {
	t.Helper()
	m, err := money.FromMinor(minor, "EUR")
	require.NoError(t, err)
	return m
}

// Lines of one product are one line, whichever of them says what price was seen; they may not contradict one another.
func TestLinesOfOneProductAreMerged(t *testing.T) {
	t.Parallel()
	product, seen, other := uuid.New(), euros(t, 100), euros(t, 101)
	for name, expected := range map[string][2]*money.Money{"none": {}, "the first": {&seen, nil}, "the second": {nil, &seen}, "both": {&seen, &seen}} {
		merged, problem := merge([]want{{product: product, quantity: 1, expected: expected[0]}, {product: product, quantity: 2, expected: expected[1]}})
		require.Nil(t, problem, name)
		require.Len(t, merged, 1, name)
		assert.Equal(t, 3, merged[0].quantity, name)
		if name == "none" {
			assert.Nil(t, merged[0].expected)
		} else {
			assert.Equal(t, merged[0].expected, &seen, name)
		}
	}
	_, problem := merge([]want{{product: product, quantity: 1, expected: &seen}, {product: product, quantity: 2, expected: &other, pointer: "/lines/1"}})
	require.NotNil(t, problem)
	assert.Equal(t, "/lines/1/expectedUnitPrice", problem.Errors[0].Pointer)
}

// What no amount can hold is refused, in a line or in the sum of them: it is never a smaller total, nor a line less.
func TestATotalThatIsTooLargeIsRefused(t *testing.T) {
	t.Parallel()
	huge := take{shelf: shelf{product: uuid.New(), price: euros(t, math.MaxInt64/2)}, quantity: 1}
	for name, takes := range map[string][]take{
		"a line":     {{shelf: huge.shelf, quantity: 3}},
		"their sum":  {huge, huge, huge},
		"the latest": {{shelf: shelf{price: euros(t, 1)}, quantity: 1}, {shelf: huge.shelf, quantity: 3}},
	} {
		list, _, problem := lines(takes)
		require.NotNil(t, problem, name)
		assert.Empty(t, list, name)
	}
	list, total, problem := lines([]take{huge, huge})
	require.Nil(t, problem)
	assert.Len(t, list, 2)
	assert.Equal(t, euros(t, math.MaxInt64/2*2), total)
}
