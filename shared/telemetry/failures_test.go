package telemetry

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestEachFailureIsToldOnceInAWhile(t *testing.T) {
	t.Parallel()
	var f failures
	now := time.Now()
	assert.True(t, f.admit("collector", now))
	assert.True(t, f.admit("database", now), "none hides another")
	assert.False(t, f.admit("collector", now.Add(tellEvery-1)), "once is enough")
	assert.True(t, f.admit("collector", now.Add(tellEvery)), "but it is not over")

	told := 0
	for i := range 100 {
		if f.admit(fmt.Sprint("port ", i), now.Add(tellEvery)) {
			told++
		}
	}
	assert.Equal(t, tellMost-1, told, "words that always differ are no way around it")
	assert.True(t, f.admit("database", now.Add(2*tellEvery)))
}
