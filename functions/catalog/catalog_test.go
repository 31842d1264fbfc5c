package catalog_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/functions/catalog"
	"github.com/company/order-catalog-service/tests/kit"
)

type shop struct {
	*kit.API
	catalog     *catalog.Catalog
	token, boss string
}

func open(t *testing.T) *shop {
	t.Helper()
	api := kit.NewAPI(t)
	c, err := catalog.New(catalog.Options{API: api.REST, Pools: api.Pools, Keys: api.Keys, Cursors: api.Cursors, Redis: api.Redis})
	require.NoError(t, err)
	return &shop{api, c, api.Token(t, "ada", "catalog:read"), api.Token(t, "boss", "catalog:read catalog:write")}
}

func (s *shop) get(t *testing.T, path string, header ...string) kit.Reply {
	t.Helper()
	h := http.Header{}
	for i := 0; i < len(header); i += 2 {
		h[header[i]] = []string{header[i+1]}
	}
	return s.Do(t, kit.Call{Method: http.MethodGet, Path: path, Token: s.token, Header: h})
}

const head = "sku,name,description,category,price,currency,stock\n"

func (s *shop) load(t *testing.T, csv string) {
	t.Helper()
	rows, err := catalog.Read("x.csv", strings.NewReader(head+csv))
	require.NoError(t, err)
	require.NoError(t, catalog.Import(context.Background(), s.Pools.Orders, rows, func(int, int) {}))
	s.catalog.Invalidate(context.Background(), map[uuid.UUID]int64{uuid.New(): 1}) // lists would know some seconds later
}

func TestListsAreCachedUntilAProductChanges(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.load(t, "a,Anvil,,Tools,10.00,USD,5\nb,Bellows,,Tools,20.00,USD,5\n")
	first := s.get(t, "/api/v1/products?search=%20anvil%20&pageSize=1")
	require.Equal(t, []string{"Anvil"}, names(t, first))
	loads := s.catalog.PageStats().Loads
	again := s.get(t, "/api/v1/products?pageSize=1&search=anvil")
	assert.Equal(t, string(first.Body), string(again.Body))
	assert.Equal(t, first.Header["Link"], again.Header["Link"])
	assert.Equal(t, loads, s.catalog.PageStats().Loads, "another spelling of the query is the same page")
	s.get(t, "/api/v1/products?pageSize=1&search=bellows")
	assert.Equal(t, loads+1, s.catalog.PageStats().Loads, "another query is another page")

	id := first.JSON(t)["items"].([]any)[0].(map[string]any)["id"].(string)
	read := s.get(t, "/api/v1/products/"+id)
	changed := s.Do(t, kit.Call{
		Method: http.MethodPatch, Path: "/api/v1/products/" + id, Token: s.boss, Key: "k", Header: http.Header{"If-Match": {read.Header.Get("ETag")}},
		Body: map[string]any{"name": "Anvil, large"},
	})
	require.Equal(t, http.StatusOK, changed.Status, "%s", changed.Body)
	assert.Equal(t, []string{"Anvil, large"}, names(t, s.get(t, "/api/v1/products?search=anvil&pageSize=1")))
}

func names(t *testing.T, r kit.Reply) (list []string) {
	t.Helper()
	require.Equal(t, http.StatusOK, r.Status, "%s", r.Body)
	for _, item := range r.JSON(t)["items"].([]any) {
		list = append(list, item.(map[string]any)["name"].(string))
	}
	return list
}

func TestListFiltersSearchesAndPages(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.load(t, "A,Red Kettle,boils water,Kitchen,10,USD,1\nB,Blue Kettle,also for tea,Kitchen,20,USD,0\nC,Tent,has no kettle,Camping,30.50,USD,5\nD,Zelt,,Camping,40,EUR,5\n")
	assert.Equal(t, []string{"Blue Kettle", "Red Kettle", "Tent", "Zelt"}, names(t, s.get(t, "/api/v1/products")))
	assert.Equal(t, []string{"Tent", "Zelt"}, names(t, s.get(t, "/api/v1/products?category=Camping")))
	found := names(t, s.get(t, "/api/v1/products?search=kettle"))
	assert.Len(t, found, 3)
	assert.Equal(t, "Tent", found[2], "a word in the description counts less than one in the name")
	assert.Equal(t, []string{"Tent"}, names(t, s.get(t, "/api/v1/products?search=kettle&category=Camping")))

	for _, query := range []string{"pageSize=1", "pageSize=1&search=kettle", "pageSize=3&category=Camping"} {
		var walked []string
		path := "/api/v1/products?" + query
		for {
			page := s.get(t, path)
			walked = append(walked, names(t, page)...)
			next, more := page.JSON(t)["nextCursor"].(string)
			assert.Equal(t, more, strings.Contains(page.Header.Get("Link"), `rel="next"`))
			if !more {
				break
			}
			path = "/api/v1/products?" + query + "&cursor=" + next
			foreign := s.get(t, "/api/v1/products?search=other&cursor="+next)
			assert.Equal(t, http.StatusBadRequest, foreign.Status, "a cursor is its list's")
		}
		all := names(t, s.get(t, "/api/v1/products?"+strings.Replace(query, "pageSize=1", "pageSize=100", 1)))
		assert.Equal(t, all, walked, query)
	}
	assert.Equal(t, []string{"Red Kettle"}, names(t, s.get(t, "/api/v1/products?pageSize=1&page=2")))
	for _, bad := range []string{"pageSize=0", "pageSize=101", "page=101", "cursor=x", "nonsense=1", "page=2&cursor=x"} {
		r := s.get(t, "/api/v1/products?"+bad)
		assert.Contains(t, []int{400, 422}, r.Status, bad)
		assert.Equal(t, "application/problem+json", r.Header.Get("Content-Type"))
	}
}

// The longest names there are make the longest cursors: JSON writes each of these characters in six bytes.
func TestTextsThatNoDatabaseCanHoldAreRefused(t *testing.T) {
	t.Parallel()
	s := open(t)
	for _, query := range []string{"search=a%00", "search=%ff", "category=%00", "category=%c3%28", "cursor=%00"} {
		got := s.get(t, "/api/v1/products?"+query)
		assert.Equal(t, http.StatusBadRequest, got.Status, "%s: %s", query, got.Body)
	}
}

func TestACursorOfTheLongestNameIsTaken(t *testing.T) {
	t.Parallel()
	s := open(t)
	long, category := strings.Repeat("<", 199), strings.Repeat("\u00fc", 80)
	s.load(t, fmt.Sprintf("A,%sa,,%s,10,USD,1\nB,%sb,,%s,10,USD,1\n", long, category, long, category))
	query := "/api/v1/products?pageSize=1&category=" + url.QueryEscape(category)
	first := s.get(t, query)
	require.Equal(t, []string{long + "a"}, names(t, first))
	next := first.JSON(t)["nextCursor"].(string)
	assert.Greater(t, len(next), 1600)
	assert.Equal(t, []string{long + "b"}, names(t, s.get(t, query+"&cursor="+next)))
}

// A walk over pages shows every product that was there throughout exactly once, whatever comes meanwhile.
func TestPagesUnderInserts(t *testing.T) {
	t.Parallel()
	s := open(t)
	var rows strings.Builder
	for i := range 30 {
		fmt.Fprintf(&rows, "S%d,Steady %02d,,Things,1,USD,1\n", i, i)
	}
	s.load(t, rows.String())
	seen := map[string]int{}
	path, n := "/api/v1/products?pageSize=4", 0
	for {
		page := s.get(t, path)
		for _, name := range names(t, page) {
			seen[name]++
		}
		n++
		s.load(t, fmt.Sprintf("N%d,A newcomer %d,,Things,1,USD,1\nM%d,Steady 1%d b,,Things,1,USD,1\n", n, n, n, n%10))
		next, more := page.JSON(t)["nextCursor"].(string)
		if !more {
			break
		}
		path = "/api/v1/products?pageSize=4&cursor=" + next
	}
	for i := range 30 {
		assert.Equal(t, 1, seen[fmt.Sprintf("Steady %02d", i)], i)
	}
}

// CC-01 to CC-03 too: another version has another tag, and a change needs the one that is current.
func TestReadIsCachedAndChangesInvalidate(t *testing.T) {
	t.Parallel()
	s := open(t)
	id := s.Product(t, 5)
	path := "/api/v1/products/" + id.String()
	first := s.get(t, path)
	require.Equal(t, http.StatusOK, first.Status, "%s", first.Body)
	second := s.get(t, path)
	assert.Equal(t, string(first.Body), string(second.Body))
	assert.EqualValues(t, 1, s.catalog.CacheStats().Memory)
	assert.EqualValues(t, 1, s.catalog.CacheStats().Loads)
	etag := first.Header.Get("ETag")
	for _, tags := range []string{etag, "W/" + etag, `"x", ` + etag, "*"} {
		assert.Equal(t, http.StatusNotModified, s.get(t, path, "If-None-Match", tags).Status, tags)
	}
	assert.Equal(t, http.StatusOK, s.get(t, path, "If-None-Match", `"x"`).Status)

	patch := kit.Call{Method: http.MethodPatch, Path: path, Token: s.boss, Key: "p1", Body: map[string]any{"price": map[string]string{"amount": "25.00", "currency": "USD"}}}
	assert.Equal(t, http.StatusPreconditionRequired, s.Do(t, patch).Status)
	patch.Key, patch.Header = "p2", http.Header{"If-Match": {"W/" + etag}}
	assert.Equal(t, http.StatusPreconditionFailed, s.Do(t, patch).Status, "weak tags never match")
	patch.Key, patch.Header = "p3", http.Header{"If-Match": {etag}}
	changed := s.Do(t, patch)
	require.Equal(t, http.StatusOK, changed.Status, "%s", changed.Body)
	after := s.get(t, path, "If-None-Match", etag)
	require.Equal(t, http.StatusOK, after.Status, "never 304 with old content")
	assert.Equal(t, string(changed.Body), string(after.Body))
	assert.Equal(t, "product.price_changed.v1#2", kit.One[string](t, s.Database, `SELECT type || '#' || sequence FROM outbox`))
	assert.Equal(t, http.StatusForbidden, s.Do(t, kit.Call{Method: http.MethodPatch, Path: path, Token: s.token, Key: "p4", Body: map[string]any{}}).Status)

	assert.Equal(t, http.StatusNotFound, s.get(t, "/api/v1/products/"+uuid.NewString()).Status)
	assert.Equal(t, http.StatusUnprocessableEntity, s.get(t, "/api/v1/products/nonsense").Status)
}

// CC-05 and CX-10: parallel changes: one wins, and no sequence is used twice.
func TestCC05AndCX10ParallelChanges(t *testing.T) {
	t.Parallel()
	s := open(t)
	id := s.Product(t, 1)
	path := "/api/v1/products/" + id.String()
	etag := s.get(t, path).Header.Get("ETag")
	var (
		wg       sync.WaitGroup
		statuses [10]int
	)
	for i := range 10 {
		wg.Go(func() {
			statuses[i] = s.Do(t, kit.Call{
				Method: http.MethodPatch, Path: path, Token: s.boss, Key: fmt.Sprint("p", i),
				Header: http.Header{"If-Match": {etag}},
				Body:   map[string]any{"price": map[string]string{"amount": fmt.Sprint(i + 1), "currency": "USD"}},
			}).Status
		})
		wg.Go(func() {
			delta := 1 - 2*(i%2)
			s.Do(t, kit.Call{
				Method: http.MethodPost, Path: path + "/stock-adjustments", Token: s.boss, Key: fmt.Sprint("s", i),
				Body: map[string]any{"delta": delta, "reason": "count"},
			})
		})
	}
	wg.Wait()
	won := 0
	for _, status := range statuses {
		if status == http.StatusOK {
			won++
		} else {
			assert.Equal(t, http.StatusPreconditionFailed, status)
		}
	}
	assert.LessOrEqual(t, won, 1)
	assert.Zero(t, kit.One[int](t, s.Database, `SELECT count(*) FROM (SELECT sequence FROM outbox GROUP BY sequence HAVING count(*) > 1) twice`))
	assert.Zero(t, kit.One[int](t, s.Database, `SELECT count(*) FROM stock_ledger WHERE initial <> available + sold`))
}

func TestImportNamesEachBadRow(t *testing.T) {
	t.Parallel()
	_, err := catalog.Read("x.csv", strings.NewReader(head+"A,Kettle,,Kitchen,10,USD,1\n,Pan,,Kitchen,10,USD,1\nC,Pot,,Kitchen,ten,USD,1\nA,Pot,,Kitchen,10,USD,-1\n"))
	require.ErrorContains(t, err, "line 3: sku has 0 characters")
	require.ErrorContains(t, err, `line 4: price: not an amount: "ten"`)
	require.ErrorContains(t, err, "line 5: stock")
	require.ErrorContains(t, err, "sku A stands in line 2 already")
	_, err = catalog.Read("x.csv", strings.NewReader("sku,name\n"))
	require.ErrorContains(t, err, "the column description is missing")
	rows, err := catalog.Read("x.json", strings.NewReader(`[{"sku":"A","name":"Kettle","category":"Kitchen","price":"10.50","currency":"USD","stock":3}]`))
	require.NoError(t, err)
	require.Len(t, rows, 1)
	assert.Equal(t, "10.50 USD", rows[0].Price.String())
}

func TestImportTwiceIsTheSame(t *testing.T) {
	t.Parallel()
	s := open(t)
	const csv = "A,Kettle,,Kitchen,10,USD,7\nB,Pan,,Kitchen,20,USD,0\n"
	s.load(t, csv)
	s.load(t, csv)
	assert.Equal(t, 2, kit.One[int](t, s.Database, `SELECT count(*) FROM products`))
	assert.Equal(t, 7, kit.One[int](t, s.Database, `SELECT sum(available)::int FROM inventory`))
	assert.Zero(t, kit.One[int](t, s.Database, `SELECT count(*) FROM stock_ledger WHERE initial <> available + sold`))
}
