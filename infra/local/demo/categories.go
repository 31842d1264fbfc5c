package demo

// category is what its products are made of: items (name=price in cents) in each of five lines.
type category struct {
	name, code   string
	lines, items []string
	about, why   []string
}

var categories = []category{
	{
		"Running", "RUN",
		[]string{"Aurora", "Switchback", "Cadence", "Summit", "Tempo"},
		[]string{"Trail Running Shoes=12900", "Road Running Shoes=11900", "Running Shorts=3900", "Running Tights=5900", "Wind Shell=8900", "Running Cap=2400", "Hydration Vest=9900", "Running Socks=1600", "Race Singlet=3400", "Reflective Gilet=5400"},
		[]string{"light, quick to dry and cut for long strides", "made for wet mornings and long evenings", "tested over three hundred miles before it was allowed on sale"},
		[]string{"Runs true to size.", "Reflective details are visible from a hundred yards.", "Seams lie flat, where they can't rub."},
	},
	{
		"Hiking", "HIK",
		[]string{"Ridgeline", "Timber", "Granite", "Meadow", "Northfold"},
		[]string{"Hiking Boots=15900", "Day Pack 24 L=8900", "Trekking Poles=7900", "Rain Jacket=13900", "Merino Base Layer=7400", "Convertible Trousers=7900", "Wool Hiking Socks=2100", "Sun Hat=3200", "Gaiters=4400", "Dry Bag 10 L=2300"},
		[]string{"hard-wearing, repairable and at home above the tree line", "waterproof where it matters and breathable where it counts", "packed small and pulled out when the weather turns"},
		[]string{"Spare parts are sold for ten years.", "Weighs less than it looks.", "Treated without fluorocarbons."},
	},
	{
		"Camping", "CMP",
		[]string{"Hearth", "Basecamp", "Lantern", "Clearing", "Wayside"},
		[]string{"Two-Person Tent=24900", "Sleeping Bag=13900", "Sleeping Mat=7900", "Gas Stove=5900", "Cook Set=4900", "Camping Chair=5400", "LED Lantern=3400", "Folding Table=6900", "Water Carrier 10 L=1900", "Enamel Mug=1200"},
		[]string{"goes up in minutes and packs into its own bag", "sized for two people who like each other", "built for a wet weekend as much as a dry one"},
		[]string{"Comes with a repair kit.", "Fits in the boot of a small car.", "Quiet in the wind."},
	},
	{
		"Cycling", "CYC",
		[]string{"Veloce", "Gravelhead", "Commuter", "Breakaway", "Freewheel"},
		[]string{"Helmet=8900", "Bib Shorts=9400", "Jersey=6900", "Front Light=5900", "Rear Light=3900", "Pannier Bag=7400", "Floor Pump=4900", "Multitool=2900", "Cycling Gloves=2900", "Bottle Cage=1400"},
		[]string{"made by people who ride to work in the rain", "light enough for the climb and tough enough for the way down", "simple, strong and easy to fix by the road"},
		[]string{"Meets EN and CPSC standards where they apply.", "USB-C where it charges at all.", "Two years of guarantee, no questions."},
	},
	{
		"Yoga & Fitness", "FIT",
		[]string{"Balance", "Stillwater", "Core", "Sunrise", "Motion"},
		[]string{"Yoga Mat=4900", "Cork Block=1600", "Resistance Bands=1900", "Kettlebell 12 kg=5400", "Foam Roller=2900", "Skipping Rope=1400", "Training Leggings=5900", "Training Tee=3400", "Adjustable Dumbbells=18900", "Stretching Strap=1200"},
		[]string{"a quiet companion for the first half hour of the day", "grips when wet and wipes clean", "for living rooms as much as for studios"},
		[]string{"Free of PVC.", "Rolls up small.", "Machine washable where it is cloth."},
	},
	{
		"Kitchen", "KIT",
		[]string{"Copperleaf", "Everyday", "Maison", "Saltworks", "Oak & Iron"},
		[]string{"Chef's Knife=7900", "Cast Iron Skillet=5900", "Saucepan 2 L=6400", "Chopping Board=3900", "Mixing Bowls=3400", "Digital Scale=2900", "Pepper Mill=3600", "Dutch Oven=12900", "Measuring Spoons=1200", "Baking Tray=1900"},
		[]string{"heavy where it should be heavy and balanced everywhere else", "made to be used daily and handed on", "at home in small kitchens and large ones"},
		[]string{"Guaranteed for ten years.", "Gets better with use.", "Hand wash and dry at once."},
	},
	{
		"Coffee & Tea", "CAF",
		[]string{"Morningside", "Third Cup", "Highland", "Kettle & Co.", "Slowpour"},
		[]string{"Burr Grinder=8900", "Pour-Over Dripper=2900", "Gooseneck Kettle=6900", "French Press=3900", "Espresso Cups=2400", "Travel Mug=2900", "House Blend Beans 500 g=1500", "Earl Grey Tea Tin=1100", "Milk Frother=3400", "Cold Brew Jar=2900"},
		[]string{"for people who measure, and for people who don't", "roasted, thrown or forged in small batches", "makes the first cup as good as the second"},
		[]string{"A favourite of the house since its first year.", "Sent on the day it is ordered.", "Packed without plastic."},
	},
	{
		"Home Textiles", "TEX",
		[]string{"Linden", "Harbour", "Cloudline", "Fieldhouse", "Juniper"},
		[]string{"Linen Duvet Cover=12900", "Cotton Sheets=7900", "Wool Throw=8900", "Bath Towel=2900", "Cushion Cover=2400", "Table Runner=2900", "Tea Towels=1600", "Bath Mat=3200", "Curtain Pair=8900", "Goose Down Pillow=6900"},
		[]string{"woven in Portugal from long-staple yarn", "stone-washed and soft from the first night", "in colours that go with what you have"},
		[]string{"Certified to OEKO-TEX Standard 100.", "Washing instructions are on the label.", "Undyed yarn where it is white."},
	},
	{
		"Lighting", "LUX",
		[]string{"Filament", "Halo", "Paperlight", "Studio", "Ember"},
		[]string{"Desk Lamp=6900", "Floor Lamp=14900", "Pendant Light=11900", "Bedside Lamp=5400", "Wall Light=7900", "Clip Lamp=3400", "String Lights=2400", "LED Bulb E27=900", "Table Lamp=8400", "Outdoor Lantern=4900"},
		[]string{"warm, dimmable and easy on the eyes", "throws light where it is wanted and nowhere else", "made to be repaired, not replaced"},
		[]string{"Two years of guarantee.", "Looks as good switched off.", "Spare parts are sold."},
	},
	{
		"Furniture", "FUR",
		[]string{"Birch", "Atelier", "Compact", "Longhouse", "Nordhus"},
		[]string{"Dining Chair=17900", "Side Table=14900", "Bookshelf=29900", "Writing Desk=39900", "Bench=24900", "Coat Stand=9900", "Bedside Table=13900", "Bar Stool=15900", "Shoe Rack=8900", "Armchair=49900"},
		[]string{"solid wood, oiled, with joints that can be tightened", "small enough for a third-floor flat", "drawn to be repaired rather than replaced"},
		[]string{"Assembles in twenty minutes.", "From certified forests.", "Felt feet included."},
	},
	{
		"Audio", "AUD",
		[]string{"Resonance", "Clearwave", "Monitor", "Nightingale", "Analog"},
		[]string{"Wireless Headphones=19900", "Earbuds=12900", "Bookshelf Speakers=29900", "Portable Speaker=8900", "Turntable=34900", "Studio Microphone=14900", "Headphone Amplifier=17900", "Soundbar=24900", "Speaker Stands=9900", "USB Audio Interface=15900"},
		[]string{"tuned by ear and then measured", "plays for a day and a half on one charge where it has a battery", "honest sound without a loudness trick"},
		[]string{"Replaceable pads and batteries.", "Works without an app.", "Carry case included where it travels."},
	},
	{
		"Computers", "CMX",
		[]string{"Meridian", "Slate", "Vertex", "Pocket", "Workshop"},
		[]string{"Mechanical Keyboard=12900", "Wireless Mouse=5900", "27-inch Monitor=32900", "USB-C Dock=17900", "Laptop Stand=5400", "Webcam=8900", "External SSD 1 TB=10900", "Laptop Sleeve=3900", "Desk Mat=2900", "Charger 65 W=4400"},
		[]string{"plain, quiet and finished where nobody looks", "works with whatever is on the desk already", "made for eight hours a day"},
		[]string{"Three years of guarantee.", "Partly made of recycled material.", "Ships in a box without plastic."},
	},
	{
		"Smart Home", "SMT",
		[]string{"Doorway", "Thermo", "Watchful", "Linked", "Homestead"},
		[]string{"Radiator Thermostat=5900", "Motion Sensor=3400", "Smart Plug=1900", "Door Sensor=2900", "Video Doorbell=14900", "Smart Bulb=1900", "Water Leak Sensor=2900", "Indoor Camera=6900", "Bridge=5900", "Air Quality Monitor=9900"},
		[]string{"speaks Matter and works when the internet doesn't", "made to be set up once and forgotten", "set up in five minutes without an account"},
		[]string{"Keeps its data at home.", "Screws and tape included.", "Firmware updates for seven years."},
	},
	{
		"Photography", "PHO",
		[]string{"Aperture", "Darkroom", "Fieldnote", "Silver", "Panorama"},
		[]string{"Travel Tripod=15900", "Camera Strap=4900", "Camera Backpack=14900", "ND Filter=6900", "Memory Card 128 GB=3900", "Lens Cloth=900", "Photo Album=3400", "LED Panel=8900", "Film 35 mm=1400", "Cleaning Kit=2400"},
		[]string{"for the one picture of the day that is worth it", "light enough to be there when the light is", "made with photographers who carry their own bags"},
		[]string{"Weather sealed.", "Arca compatible where it mounts.", "Five years of guarantee."},
	},
	{
		"Toys & Games", "TOY",
		[]string{"Tinker", "Woodland", "Rainy Day", "Marble", "Curio"},
		[]string{"Building Blocks=3900", "Wooden Train=5900", "Puzzle 500 Pieces=1900", "Card Game=1600", "Strategy Board Game=4900", "Plush Fox=2400", "Marble Run=6900", "Kite=2900", "Watercolour Set=2200", "Science Kit=3900"},
		[]string{"no batteries, no screens, plenty of noise", "from an age of four to an age of ninety", "the box is good too"},
		[]string{"EN 71 and ASTM F963 tested.", "Lost parts are replaced for free.", "Painted with water-based colours."},
	},
	{
		"Books & Paper", "PAP",
		[]string{"Ledger", "Quarto", "Margin", "Folio", "Inkwell"},
		[]string{"Dotted Notebook=1900", "Fountain Pen=4900", "Pencil Set=1400", "Weekly Planner=2400", "Letter Set=1800", "Ink Bottle=1600", "Sketchbook=2200", "Pen Case=2900", "Wall Calendar=2400", "Wrapping Paper=900"},
		[]string{"made for ink, graphite and second thoughts", "plain, well made and pleasant to hold", "for people who think with their hands"},
		[]string{"Ships in paper, not in plastic.", "Makes a good present.", "Made in a workshop of eleven people."},
	},
	{
		"Garden", "GAR",
		[]string{"Greenhouse", "Orchard", "Terrace", "Kitchen Garden", "Perennial"},
		[]string{"Hand Trowel=1900", "Pruning Shears=3900", "Watering Can=3400", "Garden Gloves=1800", "Raised Bed=11900", "Terracotta Pot=2400", "Compost Bin=7900", "Seed Collection=1500", "Kneeling Pad=1900", "Garden Fork=4900"},
		[]string{"made for soil, rain and many seasons", "for balconies as much as for acres", "outlives most of what it plants"},
		[]string{"Made in a family firm.", "Frost proof.", "Sharpening stone included where there is an edge."},
	},
	{
		"Beauty & Care", "CAR",
		[]string{"Botanica", "Clean Slate", "Rosewater", "Apothecary", "Mineral"},
		[]string{"Face Cream=2900", "Hand Soap=1200", "Shampoo Bar=1100", "Body Lotion=1900", "Beard Oil=2100", "Lip Balm=600", "Bath Salts=1500", "Sunscreen SPF 50=2200", "Shaving Brush=3400", "Clay Mask=1900"},
		[]string{"made with few ingredients, all of them on the label", "gentle enough for every day", "smells of itself and of nothing else"},
		[]string{"Not tested on animals.", "In glass or paper.", "Dermatologically tested."},
	},
	{
		"Pets", "PET",
		[]string{"Good Boy", "Whisker", "Longtail", "Backyard", "Cosy Paw"},
		[]string{"Dog Lead=2400", "Dog Collar=1900", "Cat Scratching Post=5900", "Pet Bed=6900", "Feeding Bowl=1800", "Travel Carrier=7900", "Rope Toy=1100", "Grooming Brush=1600", "Dog Coat=4400", "Cat Tunnel=2900"},
		[]string{"chewed by experts before it was sold", "easy to clean, however it was used", "sturdy where the teeth come"},
		[]string{"Free of lead and phthalates.", "Stitched or glued to be pulled at.", "Approved by a house with two of each."},
	},
	{
		"Travel", "TRV",
		[]string{"Voyager", "Carryall", "Red Eye", "Overnight", "Passage"},
		[]string{"Cabin Suitcase=17900", "Weekend Bag=12900", "Packing Cubes=3400", "Neck Pillow=2900", "Passport Wallet=3900", "Travel Adapter=2900", "Toiletry Bag=3400", "Luggage Scale=1900", "Eye Mask=1400", "Foldable Backpack=3900"},
		[]string{"fits the overhead locker of the meanest airline", "waxed cloth and brass, made to be scuffed", "finds its own place in the bag"},
		[]string{"Wheels are replaceable.", "TSA lock where there is a lock.", "Guaranteed for ten years of departures."},
	},
}
