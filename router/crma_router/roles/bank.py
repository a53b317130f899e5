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
    "Entrada", "Demande", "Utilisateur", "Entrée", "问题", "用户", "输入", "inst",
)  # fmt: skip

CONTEXT_LABELS = (
    "Context", "Document", "Documents", "Source", "Passage", "Reference", "Background", "Search results", "Article", "Excerpt", "Knowledge", "Notes", "Data",
    "Quelle", "Kontext", "Dokument", "Contexto", "Documento", "Contexte", "Extrait", "背景", "资料", "文档", "history", "result", "file",
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

DATA = (
    '{"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}', '{"title": "your short title here"}', '{"tags": ["tag1", "tag2"]}',
    '{"queries": ["first", "second"]}', '{"foo": ["bar", "baz"]}', "| name | value |", '"answer": "...",',
)  # fmt: skip
