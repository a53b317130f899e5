"""Which words give a general query away as one domain's.

Owns: the word lists. `speaks_of` is strict (strong words of one domain only); `mentions` is wide, so that what is kept
as out of domain is so.
"""

import re

_STRONG = {
    "medical": r"symptoms?|diseases?|diagnos\w+|(?:see|my|a|your) doctor|medications?|medicines?|cancer|tumou?rs?|infections?|virus\w*|"
    r"vaccin\w+|antibiotics?|blood pressure|diabet\w+|surgery|pregnan\w+|headaches?|fever|rash|cough|asthma|arthritis|"
    r"thyroid|kidney\w*|liver|vitamins?|cholesterol|depression|anxiety disorder|insomnia|pneumonia|allerg\w+|"
    r"chemotherapy|therapy for|syndrome|side effects|contraceptive|menstrua\w+|ulcers?|migraines?|acne",
    "legal": r"lawsuits?|lawyers?|attorneys?|sue|sued|suing|legal(?:ly)?|illegal(?:ly)?|statutes?|felon(?:y|ies)|misdemeanou?rs?|"
    r"plaintiffs?|defendants?|courts?|amendments?|constitution\w*|custody|divorced?|copyright\w*|trademarks?|patents?|"
    r"jury|juries|judicial\w*|judiciary|bail|probation|parole|evict\w*|landlords?|tenants?|prosecut\w+|verdicts?|"
    r"testimony|subpoena|jurisdiction|civil rights|human rights|laws?|extradit\w+|impeach\w*|visas?|immigrat\w+|"
    r"deport\w*|citizenship|criminals?|crimes?|arrested|prison|jail|fraud|contracts?|liab\w+|inherit\w*|alimony|"
    r"dowry|harassment|ipc|fir|rti|penalty|punishments?|death sentence|murder case|federal law|police complaint",
    "financial": r"invest|investing|investments?|investors?|stocks?|mortgages?|loans?|banks?|banking|credit cards?|"
    r"credit score|interest rates?|taxes|income tax|tax return|401k|ira|bonds?|dividends?|mutual funds?|etfs?|"
    r"currency|exchange rates?|forex|inflation|portfolio|brokerage|accounting|accountant|bankruptcy|debts?|gst",
    "code": r"python|java|javascript|c\+\+|c#|php|sql|mysql|html|css|programming|programmers?|algorithms?|"
    r"data structures?|software (?:engineer\w*|develop\w*)|source code|coding|compilers?|android app|api|git|github|linux|"
    r"machine learning|web develop\w*|regex|node\.?js|django|json|debug\w*|unit tests?|recursion",
    "science": r"physics|chemistry|chemical|biolog\w+|quantum|gravity|gravitational|electrons?|protons?|neutrons?|atoms?|"
    r"atomic|molecules?|molecular|photosynthesis|dna|rna|genes?|genetic\w*|evolution|species|planets?|galax\w+|e=mc\^?2|"
    r"black holes?|relativity|thermodynamic\w*|velocity|acceleration|enzymes?|proteins?|cells?(?! phones?)|mitosis|meiosis|"
    r"periodic table|isotopes?|wavelengths?|photons?|magnetic field|volcano\w*|earthquakes?|plate tectonics|telescopes?",
}
_WIDE = {
    "medical": r"health\w*|medic\w*|drugs?|pills?|pain\w*|disorders?|treat(?:ment|ments)?|cure[ds]?|hospital\w*|nurse\w*|"
    r"patients?|blood|heart|brain|skin|hair loss|weight|diet\w*|calorie\w*|sleep\w*|sperm|sex\w*|periods?|teeth|tooth|"
    r"dent\w+|bod(?:y|ies)|stomach|muscle\w*|bones?|lungs?|eyes?|hormone\w*|mental\w*|autis\w+|adhd|hiv|aids|hygiene|"
    r"masturbat\w+|nutrition\w*|obes\w+|fat|immune|injur\w+|clinical\w*|psych\w+|alcohol\w*|smok\w+|cannabis|marijuana|"
    r"weed|poison\w*|toxic\w*|anatomy|nerves?|organs?|fitness|exercise\w*|workout\w*|breath\w*|birth\w*|protein",
    "legal": r"law|legal\w*|legislat\w+|crime\w*|criminal\w*|police|arrest\w*|prison\w*|jail\w*|rights?|justice|contract\w*|"
    r"act|bill|passport|visa\w*|immigra\w+|citizen\w*|treat(?:y|ies)|senate|congress|governor|government\w*|vot(?:e|es|ing)"
    r"|elect\w*|president\w*|minister\w*|parliament|policy|ban|banned|murder\w*|kill\w*|rape\w*|guilty|license\w*|"
    r"marriage\w*|trial\w*|case|patents?|republic|federal|democra\w+|marry|clause|sentence[ds]?|penalty|regulat\w+",
    "financial": r"money|financ\w*|econom\w*|pay\w*|paid|price\w*|cost\w*|buy\w*|sell\w*|sale\w*|business\w*|market\w*|"
    r"trad(?:e|er|ers|ing)|tax|fund\w*|insur\w*|wealth\w*|rich|income|salar\w+|earn\w*|dollars?|rupees?|rs|notes?|euros?|"
    r"bitcoin\w*|crypto\w*|paypal|startup\w*|compan(?:y|ies)|profit\w*|revenue\w*|budget\w*|cash|deposit\w*|account\w*|"
    r"retire\w*|pension\w*|capital\w*|gdp|ca|mba|cfa|wage\w*|rent\w*|afford\w*|worth|cheap\w*|demoneti[sz]\w*|credit\w*|"
    r"debit|billion\w*|million\w*|charge[sd]?|customer\w*|export\w*|import\w*|job\w*|hire\w*",
    "code": r"code\w*|program\w*|software\w*|app|apps|comput\w+|laptop\w*|internet|web\w*|site\w*|server\w*|data\w*|windows|"
    r"mac|macbook|iphone\w*|android|phone\w*|mobile\w*|google|facebook|youtube|gmail|email\w*|password\w*|hack\w*|"
    r"instagram|whatsapp|snapchat|quora|online|download\w*|install\w*|files?|wifi|router|network\w*|usb|browser\w*|chrome|"
    r"excel|pdf|technolog\w*|engineer\w*|develop\w*|ai|artificial intelligence|robot\w*|bot|variables?|functions?|"
    r"digital\w*|virtual\w*|keyboard|screen\w*|video\w*|camera|samsung|apple|microsoft|adobe|blog\w*|url|ip|cs|it|"
    r"bug|crash\w*|wordpress|woocommerce|themes?|plugins?|memory|binary|syntax|version|electronic\w*|systems?|machines?|class",
    "science": r"scien\w+|experiment\w*|energy|force\w*|light|sound|heat\w*|temperature\w*|mass|weigh\w*|speed|space|earth|"
    r"moon|sun|mars|stars?|universe|nasa|rocket\w*|water|air|oxygen|hydrogen|carbon|gas(?:es)?|acid\w*|metal\w*|iron|"
    r"gold|silver|nuclear|electric\w*|magnet\w*|theor(?:y|ies)|math\w*|equation\w*|calculus|algebra|geometry|number\w*|"
    r"formula\w*|plants?|animals?|human\w*|bird\w*|fish\w*|dog\w*|cat|cats|tree\w*|bacteria\w*|climate\w*|weather|ocean\w*"
    r"|sea|river\w*|mountain\w*|island\w*|dinosaur\w*|fossil\w*|rock\w*|element\w*|compound\w*|solution\w*|reaction\w*|"
    r"power|battery|time travel|dimension\w*|radiat\w+|radio\w*|engine\w*|liquid\w*|solid\w*|pressure|waves?|layer|motion",
}


# Titles of shows and games borrow every domain's words; the rest no demo should quote.
_SHOW = (
    r"movies?|films?|songs?|sings?|sang|seasons?|episodes?|series|cast|plays?|played|actors?|actress\w*|characters?|tv|"
    r"dancing|dance|talent|album|lyrics|band|novel|book|wwe|game of thrones|voice of"
)
_UNFIT = (
    r"porn\w*|sex\w*|masturbat\w*|penis|vagina|threesomes?|rap(?:e|es|ed|ing|ist|ists)|naked|nude|virgin\w*|orgasm\w*|"
    r"racists?|muslims?|jews?|jewish|islam\w*|terroris\w+|suicid\w*|hitler|nazis?|kill|killed|gay|lesbian|boobs?|breasts?|"
    r"prostitut\w*|escorts?|bitch\w*|fuck\w*|shit\w*|whores?|incest|blacks?|trump|hillary|clinton"
)


def _pattern(words: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w+#])(?:{words})(?![\w+#])", re.IGNORECASE)


_STRONG_PATTERNS = {domain: _pattern(words) for domain, words in _STRONG.items()}
_MEDICAL = _pattern(
    "|".join([_STRONG["medical"], _WIDE["medical"], r"covid\w*|coronavirus|carcinoma\w*|trials?"])
)
_ANY = _pattern("|".join([*_STRONG.values(), *_WIDE.values()]))


_SHOW_PATTERN, _UNFIT_PATTERN = _pattern(_SHOW), _pattern(_UNFIT)


def unfit(query: str) -> bool:
    """Whether `query` is one that no demo should carry."""
    return _UNFIT_PATTERN.search(query) is not None


def biomedical(query: str) -> bool:
    """Whether `query` is about health rather than molecular biology alone."""
    return _MEDICAL.search(query) is not None


def speaks_of(query: str) -> str | None:
    """The one domain whose strong words stand in `query`; None if there is none or more than one."""
    if _SHOW_PATTERN.search(query):
        return None
    domains = [domain for domain, pattern in _STRONG_PATTERNS.items() if pattern.search(query)]
    return domains[0] if len(domains) == 1 else None


def mentions(query: str) -> bool:
    """Whether `query` touches any of the domains, in the widest sense."""
    return _ANY.search(query) is not None
