/* The words, in alphabetical order: no two begin with the same four letters. */
#include "core/words.h"

#include <string.h>

#define DISTINCT_LETTERS 4

/* clang-format off */
static const char *const words[] = {
	"abbey", "above", "acid", "acorn", "across", "actor", "adapt", "adult", "agent", "agree",
	"ahead", "aisle", "album", "alert", "algae", "alien", "almond", "alpha", "also", "amber",
	"anchor", "angle", "answer", "april", "apron", "arena", "artist", "ash", "aspen", "atlas",
	"atom", "attic", "august", "aunt", "author", "autumn", "avocado", "awake", "award", "axis",
	"bacon", "badge", "bagel", "bake", "ball", "bamboo", "banana", "banjo", "bank", "barley",
	"barn", "basil", "basket", "bath", "battle", "beach", "beaver", "begin", "belfry", "berry",
	"better", "bicycle", "birch", "bird", "biscuit", "bison", "black", "blanket", "blaze",
	"blend", "blink", "bloom", "blossom", "blue", "board", "boat", "body", "bonus", "book",
	"border", "boss", "boulder", "bowl", "boxer", "brain", "branch", "brass", "bread",
	"breeze", "brick", "bridge", "bright", "brother", "brush", "bubble", "bucket", "buffalo",
	"bugle", "build", "bulb", "bumper", "bundle", "bunny", "bureau", "burger", "buzzer",
	"cabin", "cable", "cactus", "cafe", "calm", "camel", "canal", "candle", "canoe", "canvas",
	"canyon", "captain", "carbon", "carpet", "carrot", "castle", "cedar", "celery", "cellar",
	"cement", "center", "cereal", "chain", "chalk", "charm", "cheese", "cherry", "chess",
	"chicken", "chief", "child", "chimney", "choir", "cider", "cinema", "circle", "citrus",
	"city", "clam", "clean", "clever", "cliff", "climb", "clock", "cloud", "club", "coach",
	"coast", "cobalt", "cocoa", "code", "coffee", "coin", "comb", "comet", "common", "compass",
	"concert", "copper", "coral", "cosmos", "cotton", "country", "cousin", "coyote", "crab",
	"cradle", "crane", "crater", "cream", "creek", "cricket", "crisp", "crow", "cruise",
	"crumb", "crystal", "cube", "cuckoo", "cup", "curious", "curtain", "cushion", "cycle",
	"cymbal", "daffodil", "dairy", "dance", "danger", "dapper", "dark", "data", "dawn",
	"deacon", "debate", "decade", "deck", "deer", "delta", "denim", "depot", "desert",
	"detail", "dial", "diamond", "diary", "dice", "diesel", "dinner", "direct", "dish",
	"doctor", "dolphin", "domain", "donkey", "donut", "door", "double", "dough", "dove",
	"dozen", "dragon", "drama", "dress", "drift", "drill", "driver", "drum", "duke", "dusk",
	"dwarf", "dynamo", "eager", "eagle", "early", "earth", "easel", "echo", "eclipse",
	"editor", "eel", "effort", "eggs", "elbow", "elder", "electric", "elephant", "elk",
	"embassy", "emerald", "empire", "empty", "enamel", "energy", "engine", "enjoy", "entry",
	"equal", "era", "errand", "escape", "estate", "ethics", "evening", "every", "exact",
	"exile", "exotic", "expert", "extra", "eye", "fabric", "face", "factory", "falcon",
	"family", "fancy", "farm", "feast", "feather", "fence", "fern", "fever", "fiber", "fiddle",
	"field", "fig", "film", "final", "finch", "finger", "fire", "first", "flag", "flame",
	"flask", "fleet", "flint", "flour", "flower", "flute", "foam", "focus", "folder", "folk",
	"forest", "fortune", "fossil", "fountain", "fox", "freedom", "fresh", "frog", "frost",
	"fruit", "fudge", "funnel", "fur", "future", "gadget", "galaxy", "gallery", "game",
	"garage", "garden", "garlic", "garnet", "gazelle", "gear", "gecko", "gems", "gentle",
	"geyser", "ghost", "giant", "gift", "giraffe", "give", "glacier", "glass", "glide",
	"globe", "gnome", "goal", "gold", "gong", "goose", "gorilla", "gospel", "grand", "grape",
	"gravel", "green", "grid", "grocer", "group", "grove", "guard", "guest", "guitar", "gulf",
	"guppy", "gusto", "gym", "habit", "hair", "half", "hammer", "hand", "happy", "harbor",
	"harp", "harvest", "hatch", "hawk", "hazel", "heart", "heaven", "hedge", "height",
	"helmet", "hemp", "herb", "hiccup", "hickory", "hill", "hinge", "hippo", "hobby", "hockey",
	"holiday", "holly", "home", "honey", "hood", "horizon", "hornet", "horse", "hotel", "hour",
	"hub", "human", "humble", "hunter", "hurdle", "husky", "hybrid", "ibex", "icon", "idea",
	"idol", "igloo", "image", "impact", "index", "indigo", "infant", "ink", "inlet", "insect",
	"iris", "island", "item", "ivory", "ivy", "jacket", "jade", "jaguar", "jam", "janitor",
	"jasmine", "jazz", "jeep", "jelly", "jersey", "jewel", "jigsaw", "job", "joker", "journey",
	"juice", "jumbo", "june", "jungle", "junior", "jury", "just", "kale", "kangaroo", "karate",
	"kayak", "keen", "keeper", "kelp", "kernel", "kettle", "keyboard", "kidney", "kind",
	"kiosk", "kitchen", "kite", "kiwi", "knee", "knight", "knot", "koala", "label", "ladder",
	"lady", "lagoon", "lamb", "lantern", "laptop", "large", "laser", "laundry", "laurel",
	"lava", "leader", "leaf", "league", "lemon", "lens", "leopard", "level", "library",
	"light", "lilac", "lily", "lime", "linen", "lion", "liquid", "list", "lizard", "llama",
	"lobster", "local", "locket", "lodge", "logic", "lollipop", "lotus", "lounge", "lucky",
	"lumber", "lunar", "lunch", "lynx", "lyric", "machine", "magnet", "magpie", "mahogany",
	"mail", "major", "mallet", "mammoth", "mango", "mantle", "maple", "marble", "march",
	"margin", "market", "mask", "master", "maze", "meadow", "medal", "mellow", "melon",
	"member", "memory", "menu", "mercury", "mermaid", "meteor", "metro", "mild", "mineral",
	"mint", "minute", "mirror", "mitten", "mixer", "mobile", "model", "mole", "moment",
	"month", "moon", "morning", "mosaic", "motor", "mouse", "movie", "muffin", "mural",
	"museum", "music", "mustard", "mutual", "myth", "nacho", "napkin", "narrow", "nation",
	"nature", "navy", "nebula", "nectar", "needle", "neon", "nephew", "nest", "new", "nickel",
	"nine", "noble", "nomad", "noodle", "north", "nose", "notebook", "nova", "novel", "nugget",
	"nurse", "nutmeg", "nylon", "oak", "oasis", "oatmeal", "ocean", "ochre", "octave",
	"october", "odd", "offer", "office", "olive", "omega", "omelet", "onion", "onyx", "opal",
	"open", "opera", "optic", "orange", "orbit", "orchard", "oregano", "organ", "origami",
	"osprey", "ostrich", "otter", "ounce", "owner", "oxygen", "oyster", "ozone", "pacific",
	"paddle", "page", "palace", "panda", "panel", "panther", "papaya", "paper", "parade",
	"parcel", "party", "pasta", "patrol", "pause", "peace", "peanut", "pebble", "pecan",
	"pelican", "pencil", "penguin", "pepper", "perch", "permit", "person", "petal", "phone",
	"photo", "piano", "pickle", "picnic", "pigeon", "pillow", "pilot", "pioneer", "pipe",
	"pirate", "pizza", "planet", "plaza", "plenty", "plum", "poem", "point", "polar", "police",
	"polo", "pond", "popcorn", "poppy", "portal", "possum", "potato", "pottery", "powder",
	"prairie", "present", "prince", "prism", "prize", "problem", "profit", "proud", "public",
	"pudding", "pulley", "pulse", "puma", "pumpkin", "pupil", "puppet", "purple", "puzzle",
	"pyramid", "python", "quail", "quarry", "queen", "quick", "quiet", "quince", "quiver",
	"quiz", "quota", "rabbit", "raccoon", "radar", "radio", "raft", "rainbow", "raisin",
	"rally", "random", "rapid", "raven", "razor", "ready", "recipe", "record", "reef",
	"region", "reindeer", "relay", "remedy", "rent", "reptile", "rescue", "resort", "result",
	"retina", "reward", "rhino", "rhubarb", "rhythm", "ribbon", "ring", "ripple", "road",
	"robin", "robot", "rodeo", "roller", "roof", "root", "rope", "round", "route", "rover",
	"royal", "rubber", "ruby", "rudder", "rugby", "ruler", "runner", "safari", "saffron",
	"saga", "salad", "salmon", "salon", "salute", "sample", "sapphire", "sardine", "satin",
	"sauce", "savanna", "saxon", "scale", "scarf", "school", "science", "scooter", "scout",
	"script", "sea", "second", "secret", "seed", "segment", "select", "senior", "sesame",
	"seven", "shadow", "shark", "sheep", "shell", "shield", "ship", "shoe", "shrimp",
	"shuttle", "sierra", "signal", "silver", "simple", "siren", "sister", "six", "skate",
	"sketch", "ski", "skunk", "sky", "sled", "slice", "slipper", "sloth", "small", "smile",
	"smoke", "snail", "snow", "soap", "soccer", "social", "socks", "soda", "sofa", "soldier",
	"solid", "sonar", "soup", "south", "space", "spark", "spell", "sphere", "spider",
	"spinach", "spoon", "sport", "spring", "square", "squid", "stable", "stadium", "star",
	"steam", "sticker", "stone", "storm", "street", "studio", "style", "subway", "sugar",
	"suit", "summer", "sunset", "super", "surf", "swan", "sweater", "swift", "swing", "switch",
	"sword", "symbol", "syrup", "system", "tackle", "taco", "tadpole", "talent", "tambour",
	"target", "tart", "taxi", "teacup", "teak", "team", "teapot", "temple", "tennis", "tent",
	"terrace", "text", "theater", "thimble", "thorn", "thread", "thunder", "thyme", "ticket",
	"tiger", "timber", "tin", "tiny", "tiptoe", "titan", "today", "token", "tomato", "tongue",
	"tooth", "topaz", "torch", "tortoise", "total", "toucan", "tower", "town", "toy",
	"tractor", "trail", "trend", "tribe", "trophy", "trumpet", "truth", "tuba", "tulip",
	"tuna", "tundra", "turtle", "tutor", "tuxedo", "twelve", "twig", "twin", "type", "typhoon",
	"umbrella", "uncle", "under", "unicorn", "unit", "update", "upper", "uranium", "urban",
	"usher", "utopia", "vacuum", "valley", "value", "vanilla", "vapor", "vase", "vault",
	"vector", "velvet", "vendor", "venus", "vessel", "vet", "video", "view", "villa", "violin",
	"virtue", "vision", "vital", "vivid", "voice", "volcano", "volume", "voyage", "vulture",
	"wafer", "wagon", "waist", "walnut", "walrus", "waltz", "wasp", "water", "wave", "wax",
	"wealth", "week", "welcome", "whale", "wheat", "whisper", "white", "wicker", "widget",
	"winter", "wisdom", "wolf", "wombat", "wonder", "wool", "work", "world", "wreath", "wren",
	"wrist", "xenon", "xylem", "yacht", "yard", "yeti", "yoga", "yogurt", "young", "yoyo",
	"zebra", "zenith", "zephyr", "zero", "zigzag", "zinc", "zinnia", "zodiac", "zoo", "zoom",
	"zucchini",
};
/* clang-format on */

static_assert(countof(words) == WORDS_COUNT, "ten bits a word");

const char *words_get(unsigned index)
{
	return words[index % WORDS_COUNT];
}

/* Letters that word and text share from the start, whatever the case of text. */
static size_t shared(const char *word, struct slice text)
{
	size_t n = 0;

	while (n < text.len && word[n] && word[n] == (char)(text.data[n] | 0x20))
		n++;
	return n;
}

int words_find(struct slice text)
{
	for (size_t i = 0; i < countof(words); i++) {
		size_t n = shared(words[i], text);
		bool whole = n == text.len && n == strlen(words[i]);

		if (whole || (n == text.len && n >= DISTINCT_LETTERS))
			return (int)i;
	}
	return -ENOENT;
}

void words_encode(const uint8_t *bytes, size_t word_count, const char *separator, struct buf *out)
{
	for (size_t i = 0; i < word_count; i++) {
		unsigned value = 0;

		for (size_t bit = i * WORDS_BITS; bit < (i + 1) * WORDS_BITS; bit++)
			value = value << 1 | ((unsigned)bytes[bit / 8] >> (7 - bit % 8) & 1u);
		buf_printf(out, "%s%s", i ? separator : "", words_get(value));
	}
}

static bool is_letter(uint8_t c)
{
	return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}

int words_decode(struct slice text, uint8_t *ret, size_t bytes, size_t word_count)
{
	struct reader r = reader_init(text);
	size_t count = 0;

	assert(bytes * 8 >= word_count * WORDS_BITS);
	memset(ret, 0, bytes);
	while (reader_left(&r)) {
		size_t n = 0;

		while (n < reader_left(&r) && is_letter(r.p[n]))
			n++;
		if (n == 0) {
			(void)reader_u8(&r); /* blanks, commas, numbers in front of words */
			continue;
		}
		int index = words_find(reader_take(&r, n));
		if (index < 0 || count == word_count)
			return index < 0 ? index : -E2BIG;
		for (size_t i = 0; i < WORDS_BITS; i++) {
			size_t bit = count * WORDS_BITS + i;

			ret[bit / 8] |= (uint8_t)(((unsigned)index >> (WORDS_BITS - 1 - i) & 1u)
						  << (7 - bit % 8));
		}
		count++;
	}
	return count == word_count ? 0 : -EINVAL;
}
