"""Facts that one text has and another lacks."""

import pytest

from memory.extraction.facts import difference_in_facts, differs_in_facts

DIFFERENT = [
    ("My dog is called Pixel.", "My dog is called Biscuit."),
    ("my dog is called pixel", "my dog is called biscuit"),
    ("Pixel is my dog.", "Biscuit is my dog."),  # at the beginning of a sentence
    ("It is 5 degrees outside.", "It is -5 degrees outside."),
    ("That costs 3.50.", "That costs 35.0."),
    ("I have three cats.", "I have four cats."),
    ("Use version 3.5.2.", "Use version 3.5.3."),
    ("Use gpt4 for this.", "Use gpt5 for this."),
    ("Take v3.5.2 of it.", "Take v3.5.3 of it."),
    ("The meeting is on 2024-05-01.", "The meeting is on 2024-05-02."),
    ("the meeting is on monday", "the meeting is on friday"),
    ("She was born in March.", "She was born in May."),
    ("You can take it with milk.", "You cannot take it with milk."),
    ("You can take it.", "You can’t take it."),
    ("I do like it.", "I do not like it."),
    ("Never do that.", "Do that."),
    ("It is not so, and not now.", "It is not so, and now."),
    ("I flew to Rome.", "I flew to Rome with Anna."),
    # In what is counted:
    ("The train leaves at 10am.", "The train leaves at 10pm."),
    ("The train leaves at 10 a.m. today.", "The train leaves at 10 p.m. today."),
    ("It is 20C in here.", "It is 20F in here."),
    ("It is 5 km to the sea.", "It is 5 miles to the sea."),
    ("a 5-km run", "a 5-mile run"),
    ("I pay $20.", "I pay €20."),
    ("I swim twice a day.", "I swim once a day."),
    ("I swim twice a day.", "I swim twice a week."),
    ("I swim three times a day.", "I swim three times a week."),
    ("Wait half an hour.", "Wait a quarter of an hour."),
    ("Buy a dozen eggs.", "Buy eggs."),
    ("the third of them", "the fourth of them"),
    ("I live on the first floor.", "I live on the second floor."),
    ("I pay $10 a month.", "I pay $10 a week."),
    ("I pay $10/month.", "I pay $10/year."),
    ("I pay 10 euros/month.", "I pay 10 euros/year."),
    ("It does 60 km/h.", "It does 60 km/s."),
    ("at 10/day", "at 10/week"),
    ("It costs $10 billion.", "It costs $10 trillion."),
    # In how a number is written:
    ("Use Python 3.1.", "Use Python 3.10."),
    ("It is minus 5 degrees.", "It is 5 degrees."),
    ("It is Minus five degrees.", "It is five degrees."),
    ("Take ½ cup.", "Take ¼ cup."),
    ("It is 1,5 km.", "It is 15 km."),
    ("The code is 0420.", "The code is 420."),
    ("42. That is all.", "24. That is all."),
    # In ordinal numbers:
    ("She is in first grade.", "She is in second grade."),
    ("She came first.", "She came second."),
    ("She came first, I did not.", "She came, I did not."),
    # In times of day and relative dates:
    ("I run at 8 in the morning.", "I run at 8 in the evening."),
    ("I sleep at noon.", "I sleep at midnight."),
    ("I fly to Rome this week.", "I fly to Rome next week."),
    ("We met last summer.", "We met last winter."),
    ("I was there two days ago.", "I am there in two days."),
    ("We meet next Monday.", "We met last Monday."),
    ("Call me before noon.", "Call me after noon."),
    # In what belongs to what:
    ("I have 3 cats and 5 dogs.", "I have 5 cats and 3 dogs."),
    ("We met on 03/04/2025.", "We met on 04/03/2025."),
    ("It had 3, 3 and 4.", "It had 3, 4 and 4."),
    ("Alice is taller than Bob.", "Bob is taller than Alice."),
    ("Anna met Bob, then Anna left.", "Anna met Bob, then Bob left."),
    ("I swim on Monday and run on Friday.", "I swim on Friday and run on Monday."),
    ("I like coffee, not tea.", "I like tea, not coffee."),
    ("I don't drink the tea, I do cook.", "I drink the tea, I don't cook."),
    ("You don't eat meat, but you eat fish.", "You eat meat, but you don't eat fish."),
    ("You don't have a brother but you have a sister.", "You have a brother but you don't have a sister."),
    (
        "You never want to go out to eat meat and you do for fish.",
        "You do for meat and never want to go out to eat fish.",
    ),
    ("No tea or coffee, just juice.", "No tea or juice, just coffee."),
]
ALIKE = [
    ("Sure! The dog sleeps.", "Certainly, the dog sleeps."),
    ("I have 1,000.0 coins.", "I have 1000 coins."),
    ("I have three cats.", "I have 3 cats."),
    ("I have 1,234,567.00 coins.", "I have 1234567 coins."),
    ("at 07:00 on 3/4", "at 7:0 on 03/04"),
    ("I pay $10 a month.", "I pay $10/month."),
    ("I pay 10 euros per month.", "I pay 10 euros / month."),
    ("It is minus 5 degrees.", "It is -5 degrees."),
    ("It is −5 degrees.", "it is minus five degrees"),
    ("Take ½ cup.", "Take half a cup."),
    ("1. Eat\n2. Sleep", "- Eat\n- Sleep"),  # numbers that only count the points
    ("Pixel's ball is red.", "The red ball of Pixel."),
    ("my dog Pixel", "My dog pixel"),
    ("I'm glad. It's warm.", "I’m glad, it’s warm."),
    ("You can't go.", "You can’t go."),
    ("He is called O'Neil.", "he is called o’neil"),
    ("I have 3 cats.", "3 cats live with me."),
    ("**3** cats, all of them", "three cats, all of them"),
    ("at 10am, at 5 km", "at 10 am, at 5km"),
    ("at 10 a.m. on June 3", "at 10 AM on 3 June"),
    ("It is 20 here.", "here it is 20"),  # "here" is not what is counted
    ("I swim twice a day.", "I swim 2 times a day."),
    ("the third one", "the 3rd one"),
    ("First, eat. Once you have, sleep a second.", "Eat and sleep"),
    ("But first of all eat. Second, sleep one second.", "But eat, and sleep"),
    ("the terminus five", "the bus 5"),
    ("Good morning! It was a good year.", "Good evening, the year was good."),
    ("This is the week, next is the month.", "the week, the month"),
    ("Anna is here. Anna is glad.", "Anna is here and glad."),
    ("Rice is good. I cook it with Anna.", "With Anna I cook rice, it is good."),  # a word that opens a sentence
    ("I do not like it.", "I don't like it."),
    ("You cannot have the tea.", "You can't have tea."),
    ("I cannot sing, but dance.", "I can't sing but dance."),
    ("I cannot sing and dance well.", "I can't sing and also dance."),
    ("I do not eat of the meat when out.", "I never eat any meat because so it is."),
    ("I would not say that I can't.", "I'd never say that I cannot."),
    ("thİrd", "thİrd"),  # which casefold makes another word of
    ("", ""),
]
DESCRIBED = [
    ("My dog is called Pixel.", "My dog is called Biscuit.", "names: Pixel / Biscuit"),
    ("my dog is called pixel", "MY DOG IS BIG", "names: pixel / BIG"),
    ("Pixel’s ball is in Rome, and Anna and Bea are there.", "so it is", "names: Pixel, Rome, Anna, … / -"),
    ("I have three cats and 1,000 coins.", "I have 4 cats and 1000 coins.", "numbers: three cats / 4 cats"),
    ("it has 12, v3 and 5 of it", "it has v4 of it", "numbers: 12, v3, 5 / v4"),
    ("on Monday", "on friday", "dates: Monday / friday"),
    ("Next week at night", "this week's", "dates: Next week, night / this week's"),
    ("I do not like it.", "I like it.", "negations: not like it / -"),
    ("It's 3 for Rex, not 4.", "It's 4.", "names: Rex / -; numbers: 3 / -; negations: not 4 / -"),
    ("So no.", "So yes.", "negations: no / -"),
    ("at 10am", "at 10  pm", "numbers: 10am / 10 pm"),
    ("twice a day", "once a day", "numbers: twice a day / once a day"),
    ("at minus 5 km", "at $10 a day", "numbers: minus 5 km / $10 a day"),
    ("Alice is taller than Bob.", "Bob is taller than Alice.", "order of names: Alice, Bob / Bob, Alice"),
    ("Anna met Bob. Then Anna left.", "Anna met Bob. Then Bob left.", "order of names: Bob, Anna / Bob"),
    ("on 03/04/2025", "on 04/03/2025", "order of numbers: 03, 04, 2025 / 04, 03, 2025"),
    ("in 2025, on 03/04 at 5:10", "in 2025, on 04/03 at 5:10", "order of numbers: 2025, 03, 04, … / 2025, 04, 03, …"),
    ("monday or Friday", "Friday or Monday", "order of dates: monday, Friday / Friday, Monday"),
    ("I like coffee, not tea", "I like tea, not coffee", "negations: not tea / not coffee"),
]


@pytest.mark.parametrize(("first", "second"), DIFFERENT)
def test_texts_with_different_facts_differ_both_ways(first: str, second: str) -> None:
    assert differs_in_facts(first, second) is True
    assert differs_in_facts(second, first) is True


@pytest.mark.parametrize(("first", "second"), ALIKE)
def test_texts_with_the_same_facts_do_not_differ_either_way(first: str, second: str) -> None:
    assert differs_in_facts(first, second) is False
    assert differs_in_facts(second, first) is False


@pytest.mark.parametrize(("first", "second", "words"), DESCRIBED)
def test_a_difference_in_facts_is_told_in_words(first: str, second: str, words: str) -> None:
    assert difference_in_facts(first, second) == words


@pytest.mark.parametrize(("first", "second"), [*DIFFERENT, *ALIKE])
def test_there_is_a_difference_to_tell_just_where_facts_differ(first: str, second: str) -> None:
    assert bool(difference_in_facts(first, second)) is differs_in_facts(first, second)
