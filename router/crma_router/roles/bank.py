"""What clients and people put around a question, in five languages: examples that the role classifier learns
from.

They are written for it, none is a known client's template word for word. More of them is better; their order
and number do not matter otherwise."""
# ruff: noqa: E501

FRAMES = (
    # about the form of an answer
    "Answer in at most three sentences.", "Keep it short.", "Use simple language.", "Reply with JSON only.",
    "Return a JSON object with the keys answer and sources.", "The output should be formatted as a JSON instance that conforms to the schema below.",
    "Do not include any text outside of the JSON.", "Format your answer as a markdown table.", "Use bullet points.",
    "Respond in English.", "Answer in the same language as the question.", "Think step by step before you answer.",
    "Let's work this out step by step.", "Do not make anything up.", "If you are not sure, say that you do not know.",
    "Cite your sources in square brackets.", "Use inline citations such as [1] when a source has an id.",
    "Return only the final answer.", "Output nothing else.", "Do not explain your reasoning.", "Write at least 200 words.",
    "Your answer must be a single word.", "Be concise and polite.", "Use a friendly tone.", "No preamble, please.",
    "Answer as if I were five years old.", "Wrap the answer in <answer> tags.", "Use the following format:",
    "Begin!", "Here is an example of the output schema:", "The object must match this structure exactly.",
    "Make sure that the response can be parsed.", "Please respond in valid YAML.", "Limit yourself to 50 tokens.",
    # about a task
    "You are a helpful assistant.", "You are an assistant that answers the user's queries.",
    "You are a careful expert who answers truthfully.", "Below is an instruction that describes a task.",
    "Write a response that appropriately completes the request.", "Complete the following request.",
    "Answer the question based only on the following context:", "Use the context to answer the question at the end.",
    "Use the passages below to answer the user's query.", "Respond to the query with the documents provided.",
    "Given the conversation so far and a follow-up, rephrase it as a standalone question.",
    "Answer the following question as best you can.", "You have access to the following tools:",
    "Read the text and then answer.", "Please read the document below carefully.", "Summarise the text below.",
    "Summarize the following.", "Translate the following text to German.", "Translate this into Spanish:",
    "Translate to French", "Rewrite this so that it sounds more formal.", "Correct the grammar of the following message.",
    "Generate a short title for this chat, three to five words.", "Create a concise headline with an emoji that sums up the conversation.",
    "Generate one to three broad tags that categorise the main themes of the chat.", "Suggest three follow-up questions the user might ask next.",
    "Classify the sentiment of the text as positive or negative.", "Extract the keywords from the following.",
    "Make a search query for the user's last message.", "Paraphrase this in your own words.", "Write a prompt from this.",
    "Rate the following answer on a scale of 1 to 10.", "Score the response for helpfulness.", "Decide whether the answer is right.",
    "Choose the correct option: A, B, C or D.", "Pick one of the choices.", "Continue the dialogue.",
    "Here are some examples.", "Examples of titles:", "Here is what the user wrote:", "The user says:", "My question is below.",
    "If the context does not hold the answer, say so in a friendly way.", "If the user's language is unclear, ask for clarification.",
    "Never mention that you were given documents.", "Only use the information above.", "End of the documents.",
    "Guidelines", "Output", "Output format", "Task", "Instructions", "Rules", "Requirements", "Format", "Notes", "Constraints",
    "Response", "Answer", "Final answer", "Thought", "Action", "Assistant", "Helpful answer", "Style", "Length", "System", "Chat history",
    # about subjects, grades, readers, language and manner
    "Pick from these subjects: health, law, money, computers, nature, sports, art.", "Use broad categories such as Business, Technology or Education.",
    "If the topic is unclear, use the tag General.", "Name the field the text is from, for example medicine or finance.", "Rate how accurate, complete and clear the reply is.",
    "Act as a fair referee of answers.", "Compare the two answers and say which is better.", "Give a grade between A and F.", "Grade the submission.",
    "I write a blog for a general audience.", "My readers are people without special knowledge.", "Write for beginners.", "Write like a columnist.", "The audience reads on a phone.",
    "Two paragraphs and a closing line.", "Keep the tone calm and factual.", "Use British spelling.", "Avoid technical terms.", "Do not use emojis.", "Here is some background about me.",
    "I work in customer care.", "You will get a message from a user.", "You will be given a question and several documents.", "Turn the last message into a search query.",
    "Rewrite the question so that it can be understood on its own.", "Reformulate the query in three ways.", "Split the question into smaller ones.", "Explain what the user wants.",
    "Answer the last question in the manner of the ones above.", "Follow the pattern of these examples.", "Here are a few solved examples.", "Complete the last one.", "Fill in the missing answer.",
    "The conversation so far is below.", "This is a transcript of a call.", "What follows was typed by a customer.", "Answer as the assistant.", "Stay in character.",
    "Objective", "Audience", "Tone", "Persona", "Role", "Background", "Goal", "Steps", "Example", "Examples", "Example 1", "Example 2", "Tools", "Evaluation", "Criteria", "Rubric", "Rating", "Score", "Verdict",
    # German, Spanish, French, Chinese
    "Antworte in höchstens drei Sätzen.", "Gib nur JSON zurück.", "Du bist ein hilfreicher Assistent.", "Beantworte die Frage anhand des folgenden Kontexts.",
    "Fasse den folgenden Text zusammen.", "Übersetze den folgenden Satz ins Englische:", "Erstelle einen kurzen Titel für dieses Gespräch.",
    "Wenn du es nicht weißt, sage das.", "Antworte auf Deutsch.", "Denke Schritt für Schritt nach.", "Anweisung", "Antwort", "Aufgabe", "Ausgabeformat",
    "Responde en un máximo de tres frases.", "Devuelve solo JSON.", "Eres un asistente útil.", "Responde a la pregunta con el contexto siguiente.",
    "Resume el texto siguiente.", "Traduce el siguiente texto al inglés:", "Genera un título breve para esta conversación.", "Si no lo sabes, dilo.",
    "Responde en español.", "Piensa paso a paso.", "Instrucción", "Respuesta", "Tarea", "Formato de salida",
    "Réponds en trois phrases au plus.", "Renvoie uniquement du JSON.", "Tu es un assistant utile.", "Réponds à la question à l'aide du contexte suivant.",
    "Résume le texte suivant.", "Traduis le texte suivant en anglais :", "Génère un titre court pour cette conversation.", "Si tu ne sais pas, dis-le.",
    "Réponds en français.", "Réfléchis étape par étape.", "Consigne", "Réponse", "Tâche", "Format de sortie",
    "请用三句话以内回答。", "只返回JSON。", "你是一个乐于助人的助手。", "请根据以下内容回答问题。", "总结下面的文字。", "把下面的句子翻译成英文：",
    "为这段对话起一个简短的标题。", "如果不知道，就直接说不知道。", "请用中文回答。", "请一步一步思考。", "指令", "回答", "任务", "输出格式",
)  # fmt: skip

CARRIES = (
    "Explain more.", "Tell me more about that.", "Go on.", "Continue.", "Why?", "Why is that?", "How so?", "And then?", "What do you mean?",
    "Can you give an example?", "Another example, please.", "Shorter, please.", "Say that in simpler words.", "Thanks!", "Thank you, that helps.",
    "OK.", "I see.", "Really?", "Are you sure?", "Is that always true?", "What about the second one?", "And the first?", "Which one is better?",
    "How long does it take?", "How much does that cost?", "Is it safe?", "Does it hurt?", "Can I do that myself?", "What happens if I don't?",
    "And if it gets worse?", "What are the risks?", "Is there an alternative?", "Do I have to?", "Who decides that?", "Since when?",
    "Summarise that.", "Put that in a table.", "Make it a list.", "Translate your answer.", "What did you say before?", "Repeat that, please.",
    "That did not work.", "I still don't understand.", "Could you elaborate on the last point?", "Anything else I should know?", "What next?",
    "and for children?", "and in that case?", "how often?", "what about weekends?", "is it the same for both?", "so what should I do?",
    "Erkläre das genauer.", "Warum?", "Mach weiter.", "Und dann?", "Ein Beispiel, bitte.", "Danke!", "Kürzer bitte.", "Ist das sicher?", "Was kostet das?",
    "Wie lange dauert das?", "Und für Kinder?", "Was meinst du damit?", "Gibt es eine Alternative?", "Fass das zusammen.",
    "Explícalo mejor.", "¿Por qué?", "Sigue.", "¿Y luego?", "Dame un ejemplo.", "¡Gracias!", "Más corto, por favor.", "¿Es seguro?", "¿Cuánto cuesta eso?",
    "¿Cuánto tarda?", "¿Y para los niños?", "¿Qué quieres decir?", "¿Hay otra opción?", "Resume eso.",
    "Explique davantage.", "Pourquoi ?", "Continue.", "Et ensuite ?", "Un exemple, s'il te plaît.", "Merci !", "Plus court.", "Est-ce sans danger ?",
    "Combien ça coûte ?", "Combien de temps ça prend ?", "Et pour les enfants ?", "Que veux-tu dire ?", "Y a-t-il une autre solution ?", "Résume cela.",
    "Got any sources for that?", "Where would I find more on this?", "Any further reading?", "What could the reason be?", "What else might it be?", "Say it in a single line.", "I'd rather wait, is that ok?",
    "How do others do it?", "Which one do you prefer?", "Does it matter?", "Is that important?", "Could you be more specific?", "That is hard to follow.", "Nice, thanks.", "Understood.", "How certain is that?",
    "Gibt es dazu mehr zu lesen?", "Woran könnte das noch liegen?", "Wie machen das andere?", "Sag es kürzer.", "Wie sicher ist das?", "Ist das wichtig?", "Verstehe.", "Super, danke dir.", "Welche Variante ist besser?", "Genauer bitte.",
    "¿Hay algo más que leer sobre eso?", "¿A qué más puede deberse?", "¿Cómo lo hacen otros?", "Dilo más corto.", "¿Es seguro que sea así?", "¿Importa eso?", "Entiendo.", "Estupendo, gracias.", "¿Cuál es mejor?", "Sé más concreto.",
    "Où trouver plus d'informations ?", "À quoi d'autre cela peut-il tenir ?", "Comment font les autres ?", "Dis-le en bref.", "C'est certain ?", "Est-ce que ça compte ?", "Je vois.", "Super, merci.", "Laquelle est la meilleure ?", "Sois plus précis.",
    "有相关资料吗？", "在哪儿能了解更多？", "还有其他可能吗？", "别人是怎么做的？", "一句话概括。", "这个确定吗？", "这重要吗？", "明白。", "太好了，谢谢。", "哪个更好？", "具体一点。", "先等等可以吗？", "谢了", "嗯嗯", "知道了", "很有用，谢谢", "太难懂了。", "这是什么原因？", "那我该怎么办？",
    "再详细说说。", "为什么？", "继续。", "然后呢？", "举个例子。", "谢谢！", "简短一点。", "这样安全吗？", "要多少钱？", "需要多久？", "那孩子呢？", "什么意思？", "还有别的办法吗？", "总结一下。",
)  # fmt: skip

PASSAGES = (
    "The river rises in the northern hills and flows for two hundred miles before it reaches the sea. Floods were common until the dam was built.",
    "Opening hours are from nine to five on weekdays. Visitors are asked to leave large bags at the entrance.",
    "The committee met on Tuesday and agreed on the minutes. Three members were absent, and the vote was put off.",
    "Bread dough should rest for an hour in a warm place. It has risen enough when it springs back slowly.",
    "Figure 2 shows the results of both groups. The difference was small, and the sample did not allow firm conclusions.",
    "The train leaves from platform four. Passengers for the coast must change at the second station.",
    "In the first chapter the hero leaves his village. He returns years later and finds that nobody knows him.",
    "Version 3.2 brings a new menu and mends several faults. Users should make a copy of their settings first.",
    "The applicant stated that he had never received the letter. The office held that it had been sent in time.",
    "A dose was given twice a day for a week. Two participants left the study early.",
    "Revenue rose by four percent in the third quarter. Costs were in line with what had been expected.",
    "The function takes two arguments and returns a list. An empty list is returned if nothing was found.",
    "Stars of this kind live for about ten billion years. Their light is yellow to the eye.",
    "Hotels near the beach are full in August. Prices fall by half in October.",
    "Der Fluss entspringt im Norden und mündet nach dreihundert Kilometern ins Meer. Im Frühjahr führt er oft Hochwasser.",
    "Die Sitzung begann um neun Uhr. Das Protokoll wurde ohne Änderung angenommen.",
    "El tren sale del andén cuatro. Los viajeros hacia la costa deben cambiar en la segunda estación.",
    "El museo abre de nueve a cinco. Los lunes está cerrado por la mañana.",
    "Le fleuve prend sa source dans les collines. Les crues étaient fréquentes avant la construction du barrage.",
    "La réunion a commencé à neuf heures. Trois membres étaient absents.",
    "这条河发源于北部山区，全长三百公里。春天常有洪水。",
    "会议于九点开始。三名成员缺席，表决被推迟。",
)  # fmt: skip

ASKED_LABELS = (
    "Question", "User question", "Query", "User query", "Q", "User", "Human", "Instruction", "Input", "Request", "User input", "Prompt", "Message",
    "My question", "User message", "Ask", "Standalone question", "Follow up input", "Text to answer", "Frage", "Nutzerfrage", "Eingabe", "Pregunta", "Consulta",
    "Entrada", "Demande", "Utilisateur", "Entrée", "问题", "用户", "输入", "inst", "Customer", "Customer message", "Client", "Description", "Body", "Comment", "Post", "Details", "Nachricht",
    "Mensaje", "留言", "Reader", "Problem", "Issue", "Text", "User's question", "Follow-up question", "Last message", "Student", "Caller", "Objective", "What happened",
)  # fmt: skip

CONTEXT_LABELS = (
    "Context", "Document", "Documents", "Source", "Passage", "Reference", "Background", "Search results", "Article", "Excerpt", "Knowledge", "Notes", "Data",
    "Quelle", "Kontext", "Dokument", "Contexto", "Documento", "Contexte", "Extrait", "背景", "资料", "文档", "history", "result", "file", "Assistant's answer", "Response A", "Response B",
    "Candidate answer", "Submission", "Model output", "Start of the answer", "Previous answer", "Earlier messages", "Observation", "Tool result", "Memory", "Retrieved",
)  # fmt: skip

FRAME_LABELS = (
    "Task", "Guidelines", "Output", "Output format", "Rules", "Instructions", "Format", "Requirements", "Example", "Schema", "Constraints", "Style",
    "System", "Aufgabe", "Regeln", "Tarea", "Reglas", "Tâche", "Règles", "任务", "要求",
)  # fmt: skip

EMPTY_LABELS = (
    "Response",
    "Answer",
    "Assistant",
    "A",
    "Output",
    "Helpful answer",
    "Final answer",
    "Antwort",
    "Respuesta",
    "Réponse",
    "回答",
    "AI",
)

QUESTIONS = (
    "Wie behandelt man einen Sonnenbrand?", "Was tun gegen Heuschnupfen", "Wann verjährt eine Forderung?", "Darf der Vermieter die Miete erhöhen?", "Was ist ein Dividendenfonds?",
    "Zinsen Bausparvertrag Vergleich", "Warum stürzt mein Skript mit einem Speicherfehler ab?", "String in Zahl umwandeln", "Was ist ein Enzym?", "Wie entsteht ein Regenbogen?",
    "Welche Filme laufen am Wochenende?", "Rezept für Apfelkuchen", "Wie alt ist der Eiffelturm?", "Ich habe seit gestern Ohrenschmerzen. Soll ich zum Arzt?",
    "¿Cómo se trata una quemadura de sol?", "remedio para la alergia al polen", "¿Cuándo prescribe una deuda?", "¿Puede subirme el alquiler el casero?", "¿Qué es un fondo de dividendos?",
    "comparar intereses de préstamos", "¿Por qué mi programa se queda sin memoria?", "convertir texto en número", "¿Qué es una enzima?", "¿Cómo se forma el arcoíris?",
    "¿Qué películas ponen este fin de semana?", "receta de tarta de manzana", "¿Cuántos años tiene la torre Eiffel?", "Me duele el oído desde ayer. ¿Debo ir al médico?",
    "Comment soigner un coup de soleil ?", "remède contre le rhume des foins", "Quand une dette est-elle prescrite ?", "Mon propriétaire peut-il augmenter le loyer ?", "C'est quoi une action à dividende ?",
    "comparer les taux d'un crédit", "Pourquoi mon programme manque-t-il de mémoire ?", "convertir une chaîne en nombre", "C'est quoi une enzyme ?", "Comment se forme un arc-en-ciel ?",
    "Quels films passent ce week-end ?", "recette de tarte aux pommes", "Quel âge a la tour Eiffel ?", "J'ai mal à l'oreille depuis hier. Dois-je voir un médecin ?",
    "晒伤怎么处理？", "花粉过敏吃什么药", "债务多久过诉讼期？", "房东可以涨房租吗？", "什么是分红基金？", "贷款利率比较", "程序为什么内存不足？", "字符串转数字", "什么是酶？", "彩虹是怎么形成的？",
    "周末有什么电影？", "苹果派做法", "埃菲尔铁塔多少年了？", "我从昨天开始耳朵疼。要去看医生吗？", "什么是递归？", "什么是通胀？", "什么是抗体？", "什么是惯性？",
    "Come si cura una scottatura?", "Quando va in prescrizione un debito?", "Che cos'è un enzima?", "Perché il mio programma va in errore?", "Como se trata uma queimadura?", "O que é uma enzima?",
    "Hoe behandel je zonnebrand?", "Wat is een enzym?", "日焼けの手当ては？", "酵素とは何ですか？", "Как лечить солнечный ожог?", "Что такое фермент?",
    "merge two arrays", "center text in a table cell", "rename a branch", "flights to rome", "pancake batter", "treat a burn at home", "write a will yourself", "buy treasury bills online",
)  # fmt: skip
"""Of any subject, in other languages and in keywords: what asks need not be English, nor a sentence."""

DATA = (
    '{"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}', '{"title": "your short title here"}', '{"tags": ["tag1", "tag2"]}',
    '{"queries": ["first", "second"]}', '{"foo": ["bar", "baz"]}', "| name | value |", '"answer": "...",',
)  # fmt: skip

# ---- what stands around a question in mails, chats, forms, examples, tools and envelopes

NAMES = (
    "Anna", "Ben", "Carlos", "Dana", "Elif", "Farid", "Grace", "Hugo", "Ines", "Jonas", "Kim", "Luc", "Maria", "Nadia", "Oskar", "Priya", "Quentin",
    "Rosa", "Sven", "Tara", "Uwe", "Vera", "Wei", "Yusuf", "小王", "李娜", "Doctor Klein", "Monsieur Dupont", "Mrs Patel", "Sam Lee", "Julio Romero", "Support Team",
)  # fmt: skip

GREETINGS = (
    "Hi,", "Hello,", "Hello everyone,", "Dear Sir or Madam,", "Good morning,", "Hey there,", "Hi all,", "Dear colleagues,", "Hope you are well.", "Greetings,",
    "I hope this finds you well.", "Nice to meet you.", "Hallo zusammen,", "Sehr geehrte Damen und Herren,", "Guten Tag,", "Hola,", "Buenos días,", "Estimados señores:",
    "Bonjour,", "Madame, Monsieur,", "Salut,", "你好，", "您好！", "Hey, have a minute?", "Good afternoon!", "Happy Monday!",
)  # fmt: skip

SIGN_OFFS = (
    "Best,", "Kind regards,", "Cheers", "Thanks in advance!", "Many thanks and best wishes,", "Yours sincerely,", "Sent from my phone", "Looking forward to your reply.",
    "Any help would be appreciated.", "Thank you for your time.", "Let me know if you need anything else.", "Viele Grüße", "Mit freundlichen Grüßen", "Danke im Voraus!",
    "Saludos", "Un cordial saludo,", "Gracias de antemano.", "Cordialement,", "Merci d'avance !", "Bien à vous", "谢谢！", "此致敬礼", "Talk soon", "Have a great day!",
    "Head of Service | Muster AG | Tel. +41 44 000 00 00", "Product Manager, Acme Ltd, www.acme.example", "12 High Street, Springfield", "P.S. I am away on Friday.",
)  # fmt: skip

DISCLAIMERS = (
    "This e-mail may contain privileged information; if you received it by mistake, delete it.", "Please do not print this message unless you need to.",
    "You get this mail because you subscribed to our list.", "To unsubscribe, follow the link below.", "Diese Nachricht ist vertraulich.",
    "Este mensaje es confidencial.", "Ce message est confidentiel.", "本邮件内容保密。", "Scanned for viruses.", "Registered in England, number 01234567.",
    "All times are UTC.", "Page 1 of 2", "Confidential, for internal use only.", "By sending this form you agree to our terms.", "External sender: be careful with links.",
)  # fmt: skip

FORWARDS = (
    "Please see the question below.", "Can you take this one?", "A client asked us the following.", "Forwarding this to you, could you reply to her?",
    "Who can answer this?", "See what he wrote.", "I got this from a user, any idea what to tell them?", "Could you help with that request?", "This came in today.",
    "What should I write back?", "Draft a reply, please.", "Answer the last message.", "Reply to the customer.", "Can you help them?", "Bitte beantworten.",
    "Kannst du das übernehmen?", "¿Puedes contestar esto?", "Peux-tu répondre à ça ?", "请回复下面的问题。", "FYI", "Any thoughts?", "Please advise.", "What would you tell her?",
)  # fmt: skip

MAIL_FIELDS = (
    ("From", "info@company.example"), ("From", "Anna Weber <anna@mail.example>"), ("To", "support@service.example"), ("To", "team@list.example"), ("Cc", "office@firm.example"),
    ("Date", "Mon, 12 Feb 2024 14:03:11 +0000"), ("Date", "2024-06-01 10:22"), ("Sent", "Thursday, 5 June 2025 16:40"), ("Subject", "Re: your message"), ("Subject", "quick question"),
    ("Subject", "Fwd: help needed"), ("Subject", "Request"), ("Reply-To", "noreply@mail.example"), ("Message-ID", "<8812.77@mail.example>"), ("Von", "kontakt@firma.example"),
    ("Betreff", "Anfrage"), ("Gesendet", "Montag, 3. März 2025 09:15"), ("De", "hola@empresa.example"), ("Asunto", "Consulta"), ("Objet", "Demande"), ("X-Mailer", "Mail 3.1"),
)  # fmt: skip

FORM_FIELDS = (
    ("Name", "Dana Fox"), ("Email", "dana@web.example"), ("Phone", "+1 555 0100"), ("Country", "Canada"), ("Language", "English"), ("Ticket", "#20391"), ("Priority", "normal"),
    ("Status", "open"), ("Category", "general"), ("Topic", "other"), ("Channel", "web chat"), ("Created", "2024-11-02 17:45"), ("Customer ID", "A-1187"), ("Plan", "free"),
    ("Newsletter", "no"), ("Consent", "yes"), ("Browser", "Firefox 128"), ("Attachments", "none"), ("Assigned to", "nobody"), ("Rating", "not given"), ("Order number", "none"),
    ("Upvotes", "17"), ("Posted by", "u/green_tea"), ("Views", "204"), ("Answers", "0"), ("Abteilung", "Kundendienst"), ("Prioridad", "baja"), ("Pays", "France"), ("优先级", "普通"),
)  # fmt: skip

TOOLS = (
    ("search_web", "looks something up on the internet and returns the first results"), ("Python", "runs a snippet of code and gives back what it prints"),
    ("Weather", "tells the forecast for a city"), ("calendar", "lists the user's appointments for a day"), ("Wikipedia", "finds an encyclopedia article by its title"),
    ("send_email", "sends a message to an address"), ("Calculator", "evaluates an arithmetic expression"), ("database", "answers a SQL query on the sales tables"),
    ("retriever", "returns passages from the knowledge base that are close to a query"), ("translate", "puts a text into another language"), ("Stock price", "the latest quote of a ticker"),
    ("Maps", "the route between two places"), ("image_generator", "makes a picture from a description"), ("handoff", "passes the conversation to a person"), ("law_lookup", "returns the text of a section"),
    ("drug_lookup", "lists interactions of two medicines"), ("finish", "ends the task with an answer"), ("file_reader", "opens a document and returns its text"),
)  # fmt: skip

AGENT_LINES = (
    "You can call the functions listed here.", "You may use these tools:", "Use a tool only when you have to.", "Pick exactly one tool for each step.", "Follow this format strictly:",
    "Question: what the user wants to know", "Thought: reason about what has to be done", "Action: which tool to take, one of the names above", "Action Input: what the tool is given",
    "Observation: what the tool gave back", "(repeat these steps as often as needed)", "Thought: I can answer now", "Final Answer: the reply to the user", "Start now!", "Let's begin.",
    "Plan: the steps, one a line", "Step 1: think about which tool is right", "Input: the question you have to answer", "Output: your answer", "The result will be shown to you afterwards.",
    "Call a function by writing its name and its arguments as JSON.", "If no tool fits, reply directly.", "Do not invent tools.", "Stop after the final answer.",
    "... (these lines may occur several times)", "Remember to answer in the end.", "Previous steps:", "Scratchpad:", "Do you need a tool?", "Today's date is 2025-04-07.", "Current user: guest",
)  # fmt: skip

SMALL_TALK = (
    "hey", "hi, are you there?", "yes, how can I help?", "Hello! What can I do for you today?", "one sec", "sure, go ahead", "ok", "no idea", "let me think", "good question",
    "can't say", "brb", "lol", "thanks, talk later", "Hi, I'm the assistant.", "Welcome back!", "I'll ask someone", "same here", "Nice weather today.", "hm, not sure", "Hallo, wie kann ich helfen?",
    "ja, moment", "¿En qué puedo ayudarte?", "un momento", "Comment puis-je vous aider ?", "une seconde", "请问有什么可以帮您？", "稍等", "haha true", "got a minute?", "anyone here?", "sorry for the delay",
)  # fmt: skip

REPLIES = (
    "Yes.", "No.", "Seven.", "In 1912.", "Paris.", "It depends.", "Blue", "About forty kilometres.", "A kind of bird.", "Because of the tide.", "positive", "neutral", "Option B", "Lisbon", "Two weeks.",
    "Sure, here is a short overview.", "That depends on several things.", "I can help with that.", "Here are the main points.", "In most cases, yes.", "Let me explain this step by step.",
    "There are three ways to do it.", "Ja, in der Regel.", "Sí, normalmente.", "Oui, en général.", "一般可以。", "Of course! First, some background.", "Not that I know of.", "Good question: it varies.",
)  # fmt: skip

ENVELOPE = (
    ("id", "7f3a-22"), ("lang", "en"), ("channel", "app"), ("role", "user"), ("type", "text"), ("source", "mobile"), ("timezone", "Europe/Berlin"), ("version", "2.0.1"), ("mode", "chat"),
    ("note", "first contact of this user"), ("greeting", "Welcome! How can I help you?"), ("instructions", "Answer briefly and politely."), ("style", "short sentences, no jargon"),
    ("device", "tablet in the lobby"), ("tone", "friendly but factual"), ("output_format", "plain text without markup"), ("session", "b81e0c"), ("fallback_message", "Sorry, I did not get that."),
)  # fmt: skip

ENVELOPE_ASKED = ("query", "question", "text", "content", "prompt", "input", "message", "user_input", "utterance", "body", "q", "frage", "pregunta", "ask")  # fmt: skip
